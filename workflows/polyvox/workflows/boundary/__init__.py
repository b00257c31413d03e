"""The interface between flows and their host: calls, failures and serialization."""
