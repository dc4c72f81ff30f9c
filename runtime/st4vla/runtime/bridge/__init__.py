"""The firmware bridge from Python: its player and its control loop, through their C ABI."""
