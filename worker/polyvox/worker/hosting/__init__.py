"""Hosts flows as Temporal workflows."""
