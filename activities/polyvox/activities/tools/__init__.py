"""The server-side tools of flows, and the sandbox for code."""
