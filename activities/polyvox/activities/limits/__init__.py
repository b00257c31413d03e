"""Limits of concurrent work: fair queues, and the state of providers that fail."""
