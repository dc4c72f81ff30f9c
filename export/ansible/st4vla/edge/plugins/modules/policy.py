"""The module `policy`: install a signed bundle on a device."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy
short_description: Install a signed bundle on a device
description:
  - Runs C(st4vla device install) on a device, with a bundle that was copied there, and waits for the end of its trial.
  - The device verifies signature and files, compiles into its inactive slot, switches, watches the new policy for a
    while, and goes back by itself if that does not do well. The task then fails, and the old policy serves.
  - Nothing is done when the bundle serves already. A flash that goes on is waited for first.
  - In check mode the device says what it would do; it needs C(bundle.json) and C(release.json) for that, no other file.
version_added: 0.1.0
options:
  folder:
    description:
      - The bundle's folder on the device.
      - Files that the device has already, from whatever bundle, need not be in it; see M(st4vla.edge.missing_files).
    type: path
    required: true
extends_documentation_fragment: [st4vla.edge.device]
attributes:
  check_mode:
    support: full
    description: Runs C(st4vla device install --dry-run).
author: ST4VLA Edge
"""

EXAMPLES = r"""
- name: Install the bundle
  st4vla.edge.policy:
    folder: /var/lib/st4vla-staging
    command: [/opt/st4vla/bin/st4vla]
  async: 7200
  poll: 15
"""

RETURN = r"""
digest:
  description: SHA-256 of the bundle's manifest.
  returned: success
  type: str
outcome:
  description: How the flash ended, as the device says; null when nothing was to be done.
  returned: always
  type: dict
"""

from ansible_collections.st4vla.edge.plugins.module_utils.device import install
from ansible_collections.st4vla.edge.plugins.module_utils.running import run_module


def main() -> None:
    """Run the module."""
    run_module(
        {"folder": {"type": "path", "required": True}},
        lambda device, given, check: install(device, given["folder"], dry_run=check),
        answer="outcome",
    )


if __name__ == "__main__":
    main()
