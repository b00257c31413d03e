"""The front door: protocols, the request path, the command line."""
