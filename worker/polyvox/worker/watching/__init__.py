"""Follows runs for people: their steps, their emitted text and their end, from any process."""
