"""Media that a conversation refers to by URL: fetched for providers that do not fetch URLs."""
