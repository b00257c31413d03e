"""The tools a flow runs on the server, and the sandbox they run in."""
