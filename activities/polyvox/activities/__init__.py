"""Everything that touches the world: model calls, storage, relay."""
