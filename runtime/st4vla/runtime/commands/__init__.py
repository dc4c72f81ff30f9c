"""The runtime's part of the `st4vla` command line."""
