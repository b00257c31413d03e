"""Runs, flows and models as JSON documents, and the routes that serve and change them."""
