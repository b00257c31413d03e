"""The wire formats of OpenAI Chat Completions, OpenAI Responses and Anthropic Messages.

Codecs between JSON and the values of `polyvox.workflows`; no I/O.
"""
