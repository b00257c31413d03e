"""What the methods of a Run do."""
