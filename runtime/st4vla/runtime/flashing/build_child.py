"""The process that builds engines beside a policy that serves.

``python -m st4vla.runtime.flashing.build_child FD PARENT`` reads a `BuildJob` from standard input and answers through
the descriptor FD, since engine libraries write to standard output what they like. When the process PARENT ends, so does
it.
"""

from __future__ import annotations

import os
import sys

import msgspec

from st4vla.contracts.errors import St4vlaError
from st4vla.runtime.flashing.build_job import BuildAnswer, BuildFailure, BuildJob
from st4vla.runtime.flashing.lowering import cap_memory, come_last, die_first, end_with


def main() -> None:
    """Do one job."""
    with os.fdopen(int(sys.argv[1]), "wb", buffering=0) as answers:

        def say(answer: BuildAnswer) -> None:
            answers.write(msgspec.json.encode(answer) + b"\n")

        job = msgspec.json.decode(sys.stdin.buffer.read(), type=BuildJob)
        end_with(int(sys.argv[2]))
        die_first()
        if job.nice is not None:
            come_last(job.nice)
        if job.memory_bytes is not None:
            cap_memory(job.memory_bytes)
        try:
            # Not before: numpy and the engine library take time and memory of their own.
            from st4vla.runtime.flashing.build_work import do_job  # noqa: PLC0415

            say(do_job(job, say))
        except St4vlaError as error:
            say(BuildFailure(type(error).__name__, " ".join(str(error).split())))
        except MemoryError:
            say(BuildFailure(MemoryError.__name__, ""))
        except OSError as error:
            say(BuildFailure("StorageError", f"engines cannot be written: {error.strerror}; nothing has changed"))


if __name__ == "__main__":
    main()
