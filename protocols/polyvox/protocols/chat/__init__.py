"""OpenAI Chat Completions, towards clients and towards providers."""
