"""Fits JSON Schemas to what a provider accepts."""
