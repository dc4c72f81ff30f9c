"""The module `trust`: bring a newer list of trusted keys to a device."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trust
short_description: Bring a newer list of trusted keys to a device
description:
  - Runs C(st4vla device trust) on a device, with a list that was copied there.
  - The device takes it only if a key that its current list trusts for that has signed it, and if it is newer.
  - Nothing is changed when the device has that list already. The first list is not for this module; bring it by hand.
version_added: 0.1.0
options:
  file:
    description: The list on the device.
    type: path
    required: true
extends_documentation_fragment: [st4vla.edge.device]
attributes:
  check_mode:
    support: partial
    description: Compares versions; whether the device would accept the signature is not known.
author: ST4VLA Edge
"""

EXAMPLES = r"""
- name: Copy the list
  ansible.builtin.copy:
    src: trust.json
    dest: /var/lib/st4vla-staging/trust.json
    mode: "0644"

- name: Take it
  st4vla.edge.trust:
    file: /var/lib/st4vla-staging/trust.json
"""

RETURN = r"""
version_before:
  description: Of the list that the device had.
  returned: success
  type: int
version:
  description: Of the list that it has now, or would have.
  returned: success
  type: int
"""

from ansible_collections.st4vla.edge.plugins.module_utils.device import take_trust
from ansible_collections.st4vla.edge.plugins.module_utils.running import run_module


def main() -> None:
    """Run the module."""
    run_module(
        {"file": {"type": "path", "required": True}},
        lambda device, given, check: take_trust(device, given["file"], dry_run=check),
    )


if __name__ == "__main__":
    main()
