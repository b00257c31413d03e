"""Anthropic Messages: the client side, the provider side, and what they share."""
