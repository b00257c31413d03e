"""What Chat Completions and Responses share."""
