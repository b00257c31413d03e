"""Fits a conversation's history to the rules that every provider has for calls and results."""
