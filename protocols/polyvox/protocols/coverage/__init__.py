"""What becomes of each field where client and provider speak different protocols."""
