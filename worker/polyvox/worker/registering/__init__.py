"""Checks flows for registration, with a dry run in a separate process."""
