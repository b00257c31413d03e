"""OpenAI Responses: the client side, the provider side, and what they share."""
