"""A device that follows a script, and the `ssh` that leads to it: ``fake_device.py FOLDER [OPTIONS] HOST COMMAND``.

What it does on its first, second, ... connection stands in ``FOLDER/HOST/script.json``; the last entry holds for all
later ones. It remembers objects and its flash between connections, and its flash goes on by the clock while nobody is
connected, as a real one does.

An entry may hold:

    exit, stderr     say that and end at once
    banner           print this first
    silent           answer nothing any more from this request on, such as "hello"
    protocol         what it says it speaks
    refuse           request to [step, error, message]
    cut_after        end the link after so many bytes of files
    cut_at           end the link at this step of the flash
    hang_at          fall silent at this step
    forget           when the link is cut, the flash never was
    damage           so many objects arrive altered
    step_s           how long each step takes
    outcome          fields of the outcome
    machine          fields of the machine
    health           of its server
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from st4vla.contracts.device_status import STEPS, DeviceStatus, Machine, Outcome, ServerStatus, SlotStatus, Step
from st4vla.contracts.flash_messages import (
    PROTOCOL,
    Answer,
    Ask,
    Data,
    Finished,
    Hello,
    Install,
    MessageBuffer,
    Offer,
    Progress,
    Refused,
    Request,
    Stored,
    Told,
    Trust,
    Wanted,
    WantedObject,
    Watch,
    Welcome,
    decode_request,
    encode,
)

MACHINE = {
    "machine": "aarch64",
    "model": "Stand-in",
    "jetpack": "36.4",
    "power_mode": "MAXN",
    "backend": "onnxruntime 1.20",
    "memory_bytes": 1 << 33,
    "disk_free_bytes": 1 << 36,
    "temperature_c": 41.5,
}
INSTALLED: tuple[Step, ...] = STEPS[1:]


class FakeDevice:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        script = json.loads(self._text("script.json", "[{}]"))
        self.count = int(self._text("connections", "0"))
        (folder / "connections").write_text(str(self.count + 1))
        self.do: dict[str, Any] = script[min(self.count, len(script) - 1)]
        self.got = 0
        self.damage = self.do.get("damage", 0)
        self.offered: dict[str, Any] = {}

    def run(self) -> None:
        if "exit" in self.do:
            self.end(self.do["exit"], self.do.get("stderr", ""))
        sys.stdout.buffer.write(self.do.get("banner", "").encode())
        buffer = MessageBuffer()
        while data := os.read(0, 1 << 18):
            for body in buffer.feed(data):
                self.answer(decode_request(body))

    def answer(self, request: Request) -> None:
        kind = type(request).__name__.lower()
        with (self.folder / "log").open("a") as log:
            log.write(f"{self.count} {kind}\n")
        if self.do.get("silent") == kind:
            time.sleep(60)
        if kind in self.do.get("refuse", {}):
            self.say(Refused(*self.do["refuse"][kind]))
            return
        if isinstance(request, Hello):
            self.say(Welcome(self.do.get("protocol", PROTOCOL), self.status()))
        elif isinstance(request, Offer):
            self.offer(request)
        elif isinstance(request, Data):
            self.receive(request)
        elif isinstance(request, Install) and request.dry_run:
            self.say(Finished(self.outcome("dry", request.digest, "would compile planner"), self.status()))
        elif isinstance(request, Install):
            flash = {"digest": request.digest, "attempt": f"attempt-{self.count}", "begin_s": time.time()}
            (self.folder / "flash.json").write_text(json.dumps(flash))
            self.follow()
        elif isinstance(request, Watch):
            self.follow()
        elif isinstance(request, Ask | Trust):
            self.say(Told(self.status()))

    def offer(self, offer: Offer) -> None:
        digest = hashlib.sha256(offer.manifest).hexdigest()
        files = json.loads(offer.manifest)["files"]
        self.offered = {entry["sha256"]: entry["size"] for entry in files.values()}
        wanted = []
        for sha256, size in self.offered.items():
            path = self.folder / "objects" / sha256
            if not path.exists():
                part = path.with_suffix(".part")
                wanted.append(WantedObject(sha256, size, part.stat().st_size if part.exists() else 0))
        self.say(Wanted(digest, tuple(wanted)))

    def receive(self, data: Data) -> None:
        part = self.folder / "objects" / f"{data.sha256}.part"
        have = part.stat().st_size if part.exists() else 0
        assert data.offset == have, (data.offset, have)
        with part.open("ab") as stream:
            stream.write(data.data)
        self.got += len(data.data)
        if self.got >= self.do.get("cut_after", float("inf")):
            self.end(255, "client_loop: send disconnect: Broken pipe")
        if have + len(data.data) < self.offered[data.sha256]:
            return
        whole = hashlib.sha256(part.read_bytes()).hexdigest() == data.sha256
        if self.damage > 0 or not whole:
            self.damage -= 1
            part.unlink()
            self.say(Stored(data.sha256, ok=False))
            return
        part.rename(part.with_suffix(""))
        self.say(Stored(data.sha256))

    def follow(self) -> None:
        flash = json.loads(self._text("flash.json", "null"))
        if flash is None:
            self.say(Refused("receive", "FlashError", "nothing was flashed yet"))
            return
        step_s = self.do.get("step_s", 0.0)
        for index, step in enumerate(INSTALLED):
            if self.do.get("cut_at") == step:
                if self.do.get("forget"):
                    (self.folder / "flash.json").unlink()
                self.end(255, "Timeout, server not responding.")
            if self.do.get("hang_at") == step:
                time.sleep(60)
            left_s = flash["begin_s"] + (index + 1) * step_s - time.time()
            if left_s < 0 < step_s:
                continue
            self.say(Progress(step, f"busy with {step}", 0.5))
            time.sleep(max(0.0, left_s))
        outcome = self.outcome(flash["attempt"], flash["digest"], "it serves")
        (self.folder / "last.json").write_text(json.dumps({**flash, "ok": outcome.ok}))
        self.say(Finished(outcome, self.status()))

    def outcome(self, attempt: str, digest: str, message: str) -> Outcome:
        fields = {"ok": True, "step": "commit", "message": message, **self.do.get("outcome", {})}
        return Outcome(attempt=attempt, bundle_name="tiny", bundle_digest=digest, **fields)

    def status(self) -> DeviceStatus:
        last = json.loads(self._text("last.json", "null"))
        flash = json.loads(self._text("flash.json", "null"))
        slot = None
        if last is not None and last["ok"]:
            slot = SlotStatus("tiny", last["digest"], 1, "key", "2026-01-01T00:00:00Z")
        running = flash is not None and (last is None or last["attempt"] != flash["attempt"])
        return DeviceStatus(
            version="0",
            machine=Machine(**{**MACHINE, **self.do.get("machine", {})}),
            slots={"a": slot, "b": None},
            active=None if slot is None else "a",
            server=ServerStatus("tcp://127.0.0.1:5555", self.do.get("health", "ready")),
            flashing="compile" if running else None,
            last=None if last is None else self.outcome(last["attempt"], last["digest"], "it serves"),
        )

    def say(self, answer: Answer) -> None:
        sys.stdout.buffer.write(encode(answer))
        sys.stdout.buffer.flush()

    def end(self, status: int, complaint: str) -> NoReturn:
        sys.stderr.write(complaint)
        sys.stderr.flush()
        os._exit(status)

    def _text(self, name: str, otherwise: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else otherwise


if __name__ == "__main__":
    folder, *words = sys.argv[1:]
    place = Path(folder) / words[-2]
    place.mkdir(parents=True, exist_ok=True)
    (place / "words").write_text(json.dumps(words))
    FakeDevice(place).run()
