"""What happens to each field when client and provider use different protocols."""
