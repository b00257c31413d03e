"""One module or subpackage for each group of commands."""
