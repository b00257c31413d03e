"""The client side of Messages: reads requests; writes answers, streams and errors."""
