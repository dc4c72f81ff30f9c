"""Doors through which the clients of other projects reach our engines; each is off until it is asked for."""
