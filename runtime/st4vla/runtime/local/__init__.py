"""The way for clients on the same machine: a socket for what is short, shared memory for pictures."""
