"""The newest orders as they are served, in memory that all processes of a machine share.

shared     what other modules call: get, put, fence, settle
layout     the trees of LMDB
coherence  the rule: what may be put, and when it is stale
notices    what processes tell each other: how they are, and which orders changed
keeper     restores it, and hears what other machines change
"""
