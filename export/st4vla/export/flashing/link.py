"""One connection to one device: an `ssh` with the device's agent behind it, and messages through its pipes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import subprocess
from collections import deque

from st4vla.contracts.errors import LinkError
from st4vla.contracts.flash_messages import Answer, MessageBuffer, Request, data_head, decode_answer, encode
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.ssh import explain, ssh_command

#: `ssh` then finds its next block there while we read the one after it. A system may allow less.
PIPE_BYTES = 1 << 20
#: A full pipe of that size lasts at least so long. To wake up for each block that `ssh` takes out would cost more than
#: to fill it.
DRAIN_S = 1e-3
READ_BYTES = 1 << 16
#: The end of what `ssh` complained of is kept.
COMPLAINT_BYTES = 4096
#: How long `ssh` may take to end once its input has ended, or once it was told to.
GRACE_S = 0.5


class Link:
    """A connection to a device's agent. Nothing is buffered but what the pipes hold.

    Attributes:
        sent: Bytes written to it so far.
        received: Bytes that came from it.
        talked_s: From the beginning to the device's last word.
    """

    def __init__(self, device: Device) -> None:
        """Start `ssh`.

        Raises:
            LinkError: There is no such program.
        """
        self.device = device
        self.sent = self.received = 0
        self._loop = asyncio.get_running_loop()
        command = ssh_command(device)
        try:
            # In a session of its own, Ctrl-C at our terminal does not reach it: a flash that runs is waited for.
            self._process = subprocess.Popen(  # noqa: S603 - the program that the user names
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            msg = f"{command[0]} cannot be started: {error.strerror}; install openssh-client, or name it with --ssh"
            raise LinkError(msg, again=False) from error
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self._input, self._output, self._errors = (stream.fileno() for stream in streams if stream is not None)
        for descriptor in (self._input, self._output, self._errors):
            os.set_blocking(descriptor, False)
        self._roomy = False
        with contextlib.suppress(OSError):
            self._roomy = fcntl.fcntl(self._input, fcntl.F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES
        self._buffer = MessageBuffer()
        self._answers: deque[Answer] = deque()
        self.talked_s = 0.0
        self._errors_said = b""
        self._loop.add_reader(self._errors, self._take_errors)
        self._closed = False
        self._begin_s = self._moved_s = self._loop.time()

    async def send(self, message: Request) -> None:
        """Write a message, as fast as the pipe takes it.

        Raises:
            BrokenPipeError: `ssh` reads no more; `receive` says why.
        """
        await self._write(encode(message))

    async def send_data(self, file: int, sha256: str, offset: int, size: int) -> int:
        """Write a `Data` message with a part of a file, which the system moves into the pipe without a copy of ours.

        Args:
            file: Descriptor to read.
            sha256: Which object it is.
            offset: Where the part begins.
            size: How long it is.

        Returns:
            How many bytes there were; fewer than `size` if the file ended, and then the message is not whole.

        Raises:
            BrokenPipeError: As `send`.
            OSError: The file cannot be read.
        """
        await self._write(data_head(sha256, offset, size))
        done = 0
        while done < size:
            try:
                moved = os.sendfile(self._input, file, offset + done, size - done)
            except BlockingIOError:
                await self._writable()
                continue
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # A file system whose files cannot be moved so.
                block = os.pread(file, min(size - done, READ_BYTES), offset + done)
                await self._write(block)
                moved = len(block)
            else:
                self._note_sent(moved)
            if not moved:
                break
            done += moved
        return done

    async def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                written = os.write(self._input, left)
            except BlockingIOError:
                await self._writable()
                continue
            self._note_sent(written)
            left = left[written:]

    def _note_sent(self, size: int) -> None:
        self.sent += size
        self._moved_s = self._loop.time()

    async def receive(self, silence_s: float) -> Answer:
        """Return the device's next message.

        Raises:
            LinkError: The link has ended, or nothing has moved on it, either way, for `silence_s`.
            TransportError: What came is no message.
        """
        while not self._answers:
            quiet_s = self._loop.time() - self._moved_s
            if quiet_s >= silence_s:
                complaint = self._complaint()
                msg = f"it has said nothing for {silence_s:g} s" + (f" ({complaint.strip()})" if complaint else "")
                raise LinkError(msg, again=True)
            try:
                data = os.read(self._output, READ_BYTES)
            except BlockingIOError:
                await self._readable(silence_s - quiet_s)
                continue
            if not data:
                raise await self._ended()
            self.received += len(data)
            self._moved_s = self._loop.time()
            self._answers.extend(decode_answer(body) for body in self._buffer.feed(data))
            if self._answers:
                self.talked_s = self._moved_s - self._begin_s
        return self._answers.popleft()

    async def close(self) -> None:
        """End the connection and its `ssh`; the agent's input ends, and with it the agent."""
        if self._closed:
            return
        self._closed = True
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
            if await self._exit_status() is not None:
                break
        self._loop.remove_reader(self._errors)
        if self._process.stderr is not None:
            self._process.stderr.close()

    async def _ended(self) -> LinkError:
        status = await self._exit_status()
        return explain(self.device, status, self._complaint(), heard=self.talked_s > 0)

    async def _exit_status(self) -> int | None:
        """Return the exit status of `ssh`, or None when it does not end in a while."""
        pause_s, waited_s = 0.002, 0.0
        while (status := self._process.poll()) is None and waited_s < GRACE_S:
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, 0.1)
        return status

    def _complaint(self) -> str:
        """Return the end of what came on the error stream so far."""
        self._take_errors()
        return self._errors_said.decode(errors="replace")

    def _take_errors(self) -> None:
        """Read the error stream, so that it never fills up and holds `ssh`."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._errors, READ_BYTES):
                self._errors_said = (self._errors_said + data)[-COMPLAINT_BYTES:]
            self._loop.remove_reader(self._errors)

    async def _writable(self) -> None:
        """Wait until there is room in the pipe, and in a large one until there is much."""
        if self._roomy:
            await asyncio.sleep(DRAIN_S)
        ready = self._loop.create_future()
        self._loop.add_writer(self._input, _settle, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._input)

    async def _readable(self, timeout_s: float) -> None:
        """Wait until there is something to read, or for so long."""
        ready = self._loop.create_future()
        self._loop.add_reader(self._output, _settle, ready)
        # Not `asyncio.wait_for`: until Python 3.12 it loses a cancellation that comes together with the result.
        timer = self._loop.call_later(timeout_s, _settle, ready)
        try:
            await ready
        finally:
            timer.cancel()
            self._loop.remove_reader(self._output)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
