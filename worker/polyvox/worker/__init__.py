"""The runtime: settings, the Temporal engine, the workflow host and its worker."""
