"""The routes that generate an answer."""
