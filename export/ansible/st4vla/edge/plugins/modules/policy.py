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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.st4vla.edge.plugins.module_utils.device import OPTIONS, Device, DeviceError, install


def main() -> None:
    """Run the module."""
    module = AnsibleModule({"folder": {"type": "path", "required": True}, **OPTIONS}, supports_check_mode=True)
    device = Device(
        lambda words: module.run_command(words, handle_exceptions=False),
        module.params["command"],
        module.params["root"],
    )
    try:
        module.exit_json(**install(device, module.params["folder"], dry_run=module.check_mode))
    except DeviceError as error:
        module.fail_json(msg=str(error), outcome=error.details.get("answer"))


if __name__ == "__main__":
    main()
