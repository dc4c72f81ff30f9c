"""What the documentation of the modules that ask a device has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that runs `st4vla device`."""

    DOCUMENTATION = r"""
options:
  command:
    description: Words that start the program C(st4vla) on the device.
    type: list
    elements: str
    default: [st4vla]
  root:
    description: The device's folder.
    type: path
    default: /var/lib/st4vla
"""
