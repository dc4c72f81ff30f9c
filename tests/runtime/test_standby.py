import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.client import Client
from st4vla.runtime.orders import Orders
from st4vla.runtime.probe_report import ProbeReport
from st4vla.runtime.snapshot import Snapshot

PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"


class StandbyServer:
    """A server in standby, and words to and from it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    def tell(self, word: str) -> None:
        self.stdin.write(f"{word}\n")
        self.stdin.flush()

    def until(self, word: str) -> str:
        """Return the rest of the next line that begins with a word."""
        for line in self.stdout:
            if line.startswith(word):
                return line[len(word) :].strip()
        raise AssertionError(f"it ended without {word!r}")


@pytest.fixture
def engines(bundle: Bundle, tmp_path: Path) -> str:
    folder = str(tmp_path / "engines")
    assert main(["compile", str(bundle.folder), "--out", folder]) == 0
    return folder


@contextmanager
def standby(bundle: Bundle, engines: str, *arguments: str, program: str = PROGRAM) -> Iterator[StandbyServer]:
    command = [sys.executable, "-c", program, "serve", str(bundle.folder), "--engines", engines, "--standby"]
    with subprocess.Popen(
        [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield StandbyServer(process)
        process.kill()


def test_a_server_stands_by_serves_lets_go_and_serves_again(bundle: Bundle, engines: str, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/socket"
    with standby(bundle, engines, "--bind", address) as server, Client(address) as client:
        server.until("standing by")
        assert not Path(f"{tmp_path}/socket").exists()
        for _ in range(2):
            server.tell("go")
            assert server.until("bound ") == address
            assert server.until("serving ") == f"trial on {address}"
            assert client.hello().bundle_name == "trial"
            server.tell("close")
            server.until("closed")
            server.until("standing by")
        server.stdin.close()
        assert json.loads(server.until("") or "{}")["ok"] is True
        assert server.process.wait(10) == 0


def test_the_supervisor_is_told_how_it_is_and_what_its_own_client_got(bundle: Bundle, engines: str) -> None:
    with standby(bundle, engines, "--bind", "tcp://127.0.0.1:*", "--metrics", "127.0.0.1:0") as server:
        server.until("standing by")
        server.tell("go")
        server.until("serving ")
        server.tell("snapshot")
        snapshot = msgspec.json.decode(server.until("snapshot "), type=Snapshot)
        assert (snapshot.bundle_name, snapshot.ready) == ("trial", True)
        server.tell("probe")
        probe = msgspec.json.decode(server.until("probe "), type=ProbeReport)
        assert (probe.text, probe.chunks) == ("", 3)
        assert probe.system1_ms is not None
        assert probe.system2_ms is not None


def test_two_servers_hand_one_address_over_while_a_client_stays(bundle: Bundle, engines: str) -> None:
    with standby(bundle, engines, "--bind", "tcp://127.0.0.1:*") as first:
        first.until("standing by")
        first.tell("go")
        endpoint = first.until("bound ")
        with standby(bundle, engines, "--bind", endpoint) as second, Client(endpoint) as client:
            second.until("standing by")
            assert client.hello()
            first.tell("close")
            first.until("closed")
            second.tell("go")
            second.until("bound ")
            # The same socket of the client, which has come back by itself.
            assert client.hello()


def test_engines_that_do_not_compute_what_the_bundle_says_are_not_served(bundle: Bundle, engines: str) -> None:
    strict = f"import st4vla.runtime.golden as golden; golden.FLOAT32_BOUND = -1.0; {PROGRAM}"
    with standby(bundle, engines, program=strict) as server:
        told = json.loads(server.until(""))
        assert (told["ok"], told["error"]) == (False, "ParityError")
        assert "as it was loaded differs from the golden outputs" in told["message"]
        assert server.process.wait(10) == 1


def test_a_wrong_address_for_metrics_shows_before_anything_is_handed_over(bundle: Bundle, engines: str) -> None:
    with standby(bundle, engines, "--metrics", "9464") as server:
        assert json.loads(server.until(""))["error"] == "UsageError"


def test_a_server_that_was_told_to_end_does_nothing_else_any_more() -> None:
    orders = Orders("stand_by")
    orders.give("serve")
    assert orders.wait_while("stand_by") == "serve"
    orders.give("end")
    orders.give("serve")
    assert orders.wanted == "end"
