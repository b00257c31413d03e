"""The client side of Chat Completions: reads requests; writes answers, streams and errors."""
