"""Anthropic Messages, towards clients and towards providers."""
