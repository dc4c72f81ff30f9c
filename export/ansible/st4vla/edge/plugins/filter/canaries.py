"""The filter `canaries`: which devices get a new policy first."""

from __future__ import annotations

DOCUMENTATION = r"""
name: canaries
short_description: Choose the devices that get a new policy first
description:
  - At least a share of all, at least one, and at least one of each kind of machine. The same devices give the same
    choice.
positional: _input, share
options:
  _input:
    description: Name of a device to its C(machine), as M(st4vla.edge.device_info) returns it.
    type: dict
    required: true
  share:
    description: Of all devices, 0 to 1.
    type: float
    default: 0.1
  first:
    description: Names of devices that are chosen before others.
    type: list
    elements: str
    default: []
author: ST4VLA Edge
"""

EXAMPLES = r"""
- name: Show the canaries
  ansible.builtin.debug:
    msg: "{{ machines | st4vla.edge.canaries(0.05) }}"
"""

RETURN = r"""
_value:
  description: Names of the canaries.
  type: list
  elements: str
"""

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

#: What devices have in common that a policy either runs or does not run on.
KIND = ("machine", "model", "jetpack", "power_mode", "backend")


def canaries(machines: Mapping[str, Mapping[str, Any]], share: float = 0.1, first: Collection[str] = ()) -> list[str]:
    """Return the names of devices that go first, see DOCUMENTATION."""
    share = float(share)
    if not 0 <= share <= 1:
        message = f"share is {share}; it must be 0 to 1"
        raise ValueError(message)
    ordered = sorted(machines, key=lambda name: (name not in first, name))
    by_kind: dict[tuple[Any, ...], str] = {}
    for name in ordered:
        by_kind.setdefault(tuple(machines[name].get(field, "") for field in KIND), name)
    chosen = [name for name in ordered if name in first or name in by_kind.values()]
    wanted = max(1, math.ceil(share * len(ordered)))
    rest = [name for name in ordered if name not in chosen]
    return chosen + rest[: max(0, wanted - len(chosen))]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters of this file."""
        return {"canaries": canaries}
