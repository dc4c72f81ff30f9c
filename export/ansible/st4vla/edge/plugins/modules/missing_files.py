"""The module `missing_files`: which files of a bundle a device does not have."""

from __future__ import annotations

DOCUMENTATION = r"""
module: missing_files
short_description: Say which files of a bundle a device does not have yet
description:
  - A device keeps files of bundles by their SHA-256. One that another bundle brought, such as a planner that two
    policies share, need not travel again.
version_added: 0.1.0
options:
  files:
    description: The C(files) of a bundle's manifest, name to C(sha256) and C(size).
    type: dict
    required: true
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
- name: Ask what is missing
  st4vla.edge.missing_files:
    files: "{{ (lookup('ansible.builtin.file', 'bundle/bundle.json') | from_json).files }}"
  register: found
"""

RETURN = r"""
missing:
  description: Their names.
  returned: success
  type: list
  elements: str
bytes:
  description: How many bytes they have together.
  returned: success
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.st4vla.edge.plugins.module_utils.device import OPTIONS, DeviceError, missing_files


def main() -> None:
    """Run the module."""
    options = {"files": {"type": "dict", "required": True}, "root": OPTIONS["root"]}
    module = AnsibleModule(options, supports_check_mode=True)
    files = module.params["files"]
    try:
        missing = missing_files(files, module.params["root"])
    except DeviceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, missing=missing, bytes=sum(files[name]["size"] for name in missing))


if __name__ == "__main__":
    main()
