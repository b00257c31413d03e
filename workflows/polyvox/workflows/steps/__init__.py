"""The implementation of Run's methods, and values for what they ask."""
