"""The protocols clients speak."""
