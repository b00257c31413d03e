"""Restricted execution of a flow's code, and the names that it may access."""
