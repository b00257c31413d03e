"""The profile of ``python -m tests.fuzz``: many examples a round, none kept for the next one."""

from hypothesis import settings

settings.register_profile("fuzz", max_examples=1000, database=None, print_blob=True)
