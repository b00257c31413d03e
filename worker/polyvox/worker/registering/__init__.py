"""Registers flows after a dry run in a process of its own."""
