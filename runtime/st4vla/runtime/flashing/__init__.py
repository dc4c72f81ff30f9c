"""Flashing, the device's side: objects, slots, installing, the supervisor and its trial."""
