"""The Temporal engine: a server that Polyvox installs and runs, or an existing cluster."""
