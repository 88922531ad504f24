"""Compares topic, PostgreSQL and memory, and says where they differ; writes nothing into any of them.

run           the whole comparison; report: its result; findings: one difference
records       the records of the topic; history: what they must have led to, kept in scratch
stored        what PostgreSQL has; dead_letters: of those; compare, fields: the two compared
served        what memory serves
"""
