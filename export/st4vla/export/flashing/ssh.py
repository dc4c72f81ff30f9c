"""The user's own `ssh`: how it is called, and what its complaints mean."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from st4vla.contracts.errors import LinkError
from st4vla.export.flashing.inventory import Device
from st4vla.runtime.printable import printable

#: `ssh` takes the first value that it is given, so these lose against the device's own options, and win over
#: ~/.ssh/config. Three unanswered questions, 5 s apart, are a dead link. Forwardings of the user's would clash where
#: many connections are open at once, and an agent needs none.
OPTIONS = (
    "-T",
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3"),
    *("-o", "ClearAllForwardings=yes"),
)
#: What `ssh` exits with when the connection, and not the command behind it, has failed.
SSH_FAILED = 255
NOT_FOUND = 127
NOT_EXECUTABLE = 126
_COMPLAINT_CHARACTERS = 300


def ssh_command(device: Device) -> list[str]:
    """Return the program and arguments that start a device's agent."""
    remote = f"{device.command} device agent"
    if device.root:
        remote += f" --root {shlex.quote(device.root)}"
    return [*shlex.split(device.ssh), *device.ssh_options, *OPTIONS, device.host, remote]


@dataclass(frozen=True)
class _Meaning:
    """What a complaint of `ssh` means.

    Attributes:
        pattern: Regular expression of the complaint.
        advice: What is wrong and what to do; ``{host}`` and ``{command}`` stand for the device's.
        again: Whether trying again may help.
    """

    pattern: str
    advice: str
    again: bool = False


#: The first that fits is taken.
_MEANINGS = (
    _Meaning(
        "REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed",
        "it shows another host key than before: it was set up anew, or somebody stands in between; once you know, "
        "`ssh-keygen -R` with its name forgets the old key",
    ),
    _Meaning("Host key verification failed", "its host key is not known here; connect once by hand: ssh {host}"),
    _Meaning(
        r"Permission denied \(|Too many authentication failures",
        "it lets nobody in with the keys that ssh offers; try `ssh -o BatchMode=yes {host} true`, and put a key there "
        "with `ssh-copy-id {host}` or load yours with `ssh-add`",
    ),
    _Meaning(
        "Could not resolve hostname",
        "its name is not known; is it spelt right, or an alias that your ~/.ssh/config lacks?",
    ),
    _Meaning("Connection refused", "nothing listens for SSH there; is it up, and is sshd running?", again=True),
    _Meaning(
        "timed out|No route to host|[Nn]etwork is unreachable|Host is down",
        "it does not answer; is it on, and in this network?",
        again=True,
    ),
    _Meaning(
        "Timeout, server .* not responding|Broken pipe|Connection reset|Connection closed|Connection to .* closed"
        "|kex_exchange_identification",
        "the link was cut",
        again=True,
    ),
    _Meaning("sudo: .*(password|terminal)", "sudo asks for a password there; allow `{command}` with NOPASSWD"),
    _Meaning(
        "Bad configuration option|Bad owner or permissions|command-line.*line|no argument after keyword",
        "ssh does not take its configuration or options",
    ),
)


def explain(device: Device, status: int | None, complaint: str, *, heard: bool) -> LinkError:
    """Return why a link to a device ended.

    Args:
        device: Which one.
        status: `ssh`'s exit status; None when we ended it.
        complaint: What came on its error stream.
        heard: Whether the agent had answered before.
    """
    text = printable(_without_warnings(complaint), _COMPLAINT_CHARACTERS)
    said = f" ({text})" if text else ""
    meaning = next((one for one in _MEANINGS if re.search(one.pattern, complaint)), None)
    if meaning is not None and status in {SSH_FAILED, None}:
        return LinkError(f"{_advice(meaning.advice, device)}{said}", again=meaning.again)
    if status in {NOT_FOUND, NOT_EXECUTABLE} and not heard:
        advice = "`{command}` cannot be run there; install st4vla, or name it with --command or `command`"
        return LinkError(f"{_advice(advice, device)}{said}", again=False)
    if meaning is not None:
        return LinkError(f"{_advice(meaning.advice, device)}{said}", again=meaning.again or heard)
    if heard or status in {SSH_FAILED, None}:
        return LinkError(f"the link was cut{said}", again=True)
    return LinkError(
        f"`{device.command} device agent` ended there with status {status} and no answer{said}", again=False
    )


def _advice(advice: str, device: Device) -> str:
    return advice.replace("{host}", device.host).replace("{command}", device.command)


def _without_warnings(complaint: str) -> str:
    """Leave out what `ssh` says to everybody: frames of @, and that it has learnt an address."""
    lines = [line.strip() for line in complaint.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("@", "Warning: Permanently added"))]
    return " ".join(kept)
