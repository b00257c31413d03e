"""The settings, and the flows and models that are registered at the start."""
