"""Sessions written down as they happen, in MCAP files that other programs show and `st4vla replay` runs again."""
