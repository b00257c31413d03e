"""The elements of each wire protocol, both ways: pure maps between JSON and our values."""
