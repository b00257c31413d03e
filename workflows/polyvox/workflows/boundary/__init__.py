"""What crosses between a flow and its host: calls, failures and how values are serialized."""
