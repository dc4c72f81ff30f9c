"""Whose a device's files are: whoever works on them as root becomes their owner first."""

from __future__ import annotations

import os
from pathlib import Path


def become_owner(folder: Path) -> bool:
    """Give up root's rights for those of a folder's owner, and say whether that was done.

    What root left there would be nothing that the supervisor could change or lock, or, where the kernel protects hard
    links (`fs.protected_hardlinks`), put into a slot. So `sudo st4vla device agent` works as well as its user's.

    Args:
        folder: The device's; one that is not there yet, or that is root's, changes nothing.
    """
    if os.geteuid() != 0 or not folder.is_dir():
        return False
    status = folder.stat()
    if status.st_uid == 0:
        return False
    # In this order: after the last one nothing could be given up any more.
    os.setgroups([])
    os.setgid(status.st_gid)
    os.setuid(status.st_uid)
    return True
