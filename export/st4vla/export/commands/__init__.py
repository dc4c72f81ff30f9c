"""The part of the `st4vla` command line that exports."""
