"""The Temporal server that Polyvox installs and runs itself."""
