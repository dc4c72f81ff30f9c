"""Smaller numbers for a policy's graphs, chosen by what they do to its actions."""
