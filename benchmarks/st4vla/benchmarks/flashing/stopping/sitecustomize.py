"""Stop a device's Python processes just before the N-th change to its files, so that its power can be cut there.

Python imports a module of this name when it starts; the folder of this one is put on the path of stand-ins that are to
be stopped. Every change to a file below ``ST4VLA_ROOT``, by whichever process, is counted in ``ST4VLA_STOP_FOLDER``:
files that are opened for writing, renamed, linked, removed, and folders. When the number in the file ``at`` there is
reached, the file ``stopped`` tells of it, and the thread that would have made the change goes no further.
"""

import os
import sys
import time

_CHANGES = {"os.rename": 2, "os.link": 2, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _watch(folder: str, root: str) -> None:
    counter = os.open(f"{folder}/count", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def changed(what: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        # Paths relative to an open folder are counted too: only the device's own code uses them.
        if not name.startswith(root) and os.path.isabs(name):  # noqa: PTH117
            return
        # One byte a change: where the file ends now is its number, among all processes.
        os.write(counter, b".")
        number = os.lseek(counter, 0, os.SEEK_CUR)
        at = os.open(f"{folder}/at", os.O_RDONLY)
        stop_at = os.read(at, 20)
        os.close(at)
        if number == int(stop_at):
            note = os.open(f"{folder}/stopped.new", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(note, f"{what} {name}".encode())
            os.close(note)
            os.rename(f"{folder}/stopped.new", f"{folder}/stopped")  # noqa: PTH104
            while True:
                time.sleep(60)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                changed("open", path)
        elif event in _CHANGES:
            changed(event, arguments[_CHANGES[event] - 1])

    sys.addaudithook(hook)


if "ST4VLA_STOP_FOLDER" in os.environ:
    _watch(os.environ["ST4VLA_STOP_FOLDER"], os.environ["ST4VLA_ROOT"] + "/")
