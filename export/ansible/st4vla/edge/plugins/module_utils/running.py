"""How a module that asks a device is run, and ends."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.st4vla.edge.plugins.module_utils.device import OPTIONS, Device, DeviceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def run_module(
    options: Mapping[str, Any],
    work: Callable[[Device, Mapping[str, Any], bool], Mapping[str, Any]],
    answer: str = "answer",
) -> None:
    """Run a module to its end.

    Args:
        options: Its own, beside those of every module.
        work: Returns the result of the task, from the device, the parameters, and whether only to check.
        answer: What the result of a task that failed calls what the device said.
    """
    module = AnsibleModule({**options, **OPTIONS}, supports_check_mode=True)
    device = Device(
        lambda words: module.run_command(words, handle_exceptions=False),
        module.params["command"],
        module.params["root"],
    )
    try:
        module.exit_json(**work(device, module.params, module.check_mode))
    except DeviceError as error:
        module.fail_json(msg=str(error), **{answer: error.details.get("answer")})
