"""The implementation of Run's methods."""
