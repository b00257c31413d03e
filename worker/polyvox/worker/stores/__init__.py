"""The care of the stores: retention, collection of garbage, backup and restore."""
