"""The commands that training brings to `st4vla`."""
