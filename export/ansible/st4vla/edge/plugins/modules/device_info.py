"""The module `device_info`: how a device is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: device_info
short_description: Ask a device what it runs and how it is
description:
  - Runs C(st4vla device status --json) on a device.
version_added: 0.1.0
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.st4vla.edge.plugins.module_utils.device import OPTIONS, Device, DeviceError, serves


def main() -> None:
    """Run the module."""
    module = AnsibleModule(dict(OPTIONS), supports_check_mode=True)
    device = Device(
        lambda words: module.run_command(words, handle_exceptions=False),
        module.params["command"],
        module.params["root"],
    )
    try:
        status = device.status()
        module.exit_json(changed=False, status=status, serves=serves(status))
    except DeviceError as error:
        module.fail_json(msg=str(error), answer=error.details.get("answer"))


if __name__ == "__main__":
    main()
