"""Reads what any protocol's clients may send: parts and tools spelled as elsewhere, credentials."""
