"""The part of the `st4vla` command line that measures and simulates."""
