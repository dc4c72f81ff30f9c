"""Compiled graphs behind one small protocol, and the back ends that make them."""
