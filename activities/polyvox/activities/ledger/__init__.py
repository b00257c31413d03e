"""The record of every run, call and key."""
