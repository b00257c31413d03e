"""A flow's source: its stored form, and checks that it is deterministic."""
