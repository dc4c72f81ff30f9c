"""Flashing, the host's side: OpenSSH, devices, what travels, waves, and what people see of it.

Nothing here imports torch or onnx: `st4vla flash` starts at once.
"""
