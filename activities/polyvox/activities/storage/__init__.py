"""Databases and files, and their contents other than the ledger and the registry."""
