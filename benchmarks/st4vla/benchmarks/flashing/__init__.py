"""Flashing, tried out: devices that stand in for a Jetson, what goes wrong with them, and figures."""
