"""Databases, files and what is kept in them besides the ledger and the registry."""
