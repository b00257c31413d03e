"""The settings, and the flows and models that are there from the start."""
