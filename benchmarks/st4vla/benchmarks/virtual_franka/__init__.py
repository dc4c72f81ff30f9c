"""The virtual Franka from Python: start it, do things to it, and see what it sees."""
