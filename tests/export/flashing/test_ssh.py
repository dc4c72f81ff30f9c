"""Tests of how ssh is called, and of what its complaints mean. Each complaint is one that OpenSSH 9.2 writes."""

import pytest

from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.ssh import explain, ssh_command

THOR = Device("thor", command="sudo -n st4vla", root="/data/it's here", ssh="wrap --quiet", ssh_options=("-p", "2222"))


def test_a_devices_own_options_come_before_ours_so_that_ssh_takes_them() -> None:
    command = ssh_command(THOR)
    assert command[:4] == ["wrap", "--quiet", "-p", "2222"]
    assert command[-2:] == ["thor", "sudo -n st4vla device agent --root '/data/it'\"'\"'s here'"]
    assert "BatchMode=yes" in command
    assert ssh_command(Device("thor"))[-1] == "st4vla device agent"


CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key verification failed."""


@pytest.mark.parametrize(
    ("status", "complaint", "says", "again"),
    [
        (255, CHANGED, "shows another host key than before", False),
        (255, "Host key verification failed.", "connect once by hand: ssh thor", False),
        (255, "No ED25519 host key is known for thor.\nHost key verification failed.", "not known here", False),
        (255, "me@thor: Permission denied (publickey).", "ssh-copy-id thor", False),
        (255, "ssh: Could not resolve hostname thor: Name or service not known", "its name is not known", False),
        (255, "ssh: connect to host thor port 22: Connection refused", "is sshd running?", True),
        (255, "ssh: connect to host thor port 22: Connection timed out", "is it on", True),
        (255, "ssh: connect to host thor port 22: No route to host", "in this network?", True),
        (255, "Timeout, server thor not responding.", "the link was cut", True),
        (255, "client_loop: send disconnect: Broken pipe", "the link was cut", True),
        (255, "kex_exchange_identification: Connection closed by remote host", "the link was cut", True),
        (255, "command-line: line 0: Bad configuration option: foo", "does not take its configuration", False),
        (255, "", "the link was cut", True),
        (None, "", "the link was cut", True),
        (127, "bash: line 1: sudo: command not found", "`sudo -n st4vla` cannot be run there", False),
        (1, "sudo: a password is required", "with NOPASSWD", False),
        (1, "st4vla: unknown command 'device'", "ended there with status 1 and no answer (st4vla: unknown", False),
    ],
)
def test_a_complaint_says_what_to_do(status: int | None, complaint: str, says: str, again: bool) -> None:
    error = explain(THOR, status, complaint, heard=False)
    assert says in str(error)
    assert error.again == again


def test_an_agent_that_ends_amid_a_conversation_is_asked_again() -> None:
    assert explain(THOR, 1, "Traceback: x", heard=True).again
    assert "Traceback: x" in str(explain(THOR, 1, "Traceback: x", heard=True))


def test_nothing_of_a_complaint_moves_a_cursor() -> None:
    assert "\033" not in str(explain(THOR, 255, "\033[2Jgone", heard=True))
