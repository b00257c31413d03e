"""The client side of Responses: reads requests; writes answers, streams and errors."""
