"""The flows that ship with Polyvox; each file is stored and loaded like a user's own flow."""
