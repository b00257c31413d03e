"""Registered flow versions and the virtual models bound to them."""
