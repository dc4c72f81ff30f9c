"""The module `device_info`: how a device is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: device_info
short_description: Ask a device what it runs and how it is
description:
  - Runs C(st4vla device status --json) on a device.
version_added: 0.1.0
extends_documentation_fragment: [st4vla.edge.device]
attributes:
  check_mode:
    support: full
    description: Changes nothing.
author: ST4VLA Edge
"""

EXAMPLES = r"""
- name: Ask the device
  st4vla.edge.device_info:
  register: device

- name: Say what it runs
  ansible.builtin.debug:
    msg: "{{ device.serves }} on {{ device.status.machine.model }}"
"""

RETURN = r"""
status:
  description: What the device says of itself, such as C(machine), C(slots), C(active), C(server) and C(last).
  returned: success
  type: dict
serves:
  description: Digest of the bundle in the active slot; null before the first flash.
  returned: success
  type: str
"""

from ansible_collections.st4vla.edge.plugins.module_utils.device import described
from ansible_collections.st4vla.edge.plugins.module_utils.running import run_module


def main() -> None:
    """Run the module."""
    run_module({}, lambda device, _given, _check: described(device))


if __name__ == "__main__":
    main()
