"""What the simulated models answer."""
