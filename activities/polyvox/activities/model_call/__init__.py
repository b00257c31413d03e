"""One model call: the request to the provider, the streamed answer and its cost."""
