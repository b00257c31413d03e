"""A flow's source: reading it from files, and checking that it is deterministic."""
