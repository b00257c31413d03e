"""One call of a model: the request to its provider, the stream back, its cost."""
