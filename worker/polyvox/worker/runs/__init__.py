"""Starts, approves, replays, reruns and exports runs."""
