"""The runtime: settings, engine, the workflow host and its worker."""
