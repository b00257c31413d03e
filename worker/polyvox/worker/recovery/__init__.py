"""What the living processes do for the runs and calls of dead ones."""
