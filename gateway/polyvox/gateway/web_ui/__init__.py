"""Temporal's Web UI behind a sign-in of our own."""
