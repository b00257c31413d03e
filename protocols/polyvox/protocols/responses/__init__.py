"""OpenAI Responses, towards clients and towards providers."""
