"""Compares topic, PostgreSQL and memory, and says where they differ; writes nothing into any of them."""
