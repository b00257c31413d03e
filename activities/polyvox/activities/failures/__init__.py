"""Says what is wrong with a provider and what to do: its address, its key, its protocol."""
