"""The commands of ``polyvox runs``, and ``polyvox flows test``, which replays runs."""
