"""What a flow's code may reach, and the execution that keeps it to that."""
