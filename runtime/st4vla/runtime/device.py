"""What this machine is: read, never assumed."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from st4vla.contracts.manifests import DeviceFingerprint
from st4vla.runtime.engines.backend import Backend

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU as its driver names it; on a Jetson as the device tree does."""

    name: str
    compute_capability: str = ""
    driver: str = ""


@dataclass(frozen=True)
class Device:
    """The machine that this process runs on.

    Attributes:
        machine: Instruction set, for example ``aarch64``.
        processor: Model of the CPU.
        cores: Cores that this process may use; two hardware threads of one core count once.
        memory_bytes: Physical memory.
        kernel: Kernel release.
        realtime_kernel: The kernel is built with PREEMPT_RT.
        gpu: The first GPU, or None.
        jetpack: L4T release of a Jetson, or empty.
        power_mode: nvpmodel's mode, or empty.
    """

    machine: str
    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    realtime_kernel: bool
    gpu: Gpu | None
    jetpack: str
    power_mode: str

    def fingerprint(self, backend: Backend) -> DeviceFingerprint:
        """Return what engines that this back end compiles here depend on."""
        return DeviceFingerprint(
            machine=self.machine,
            processor=self.processor,
            backend=backend.name,
            compiler=backend.availability().version,
            cores=self.cores if backend.on_cpu else 0,
            gpu=self.gpu.name if self.gpu else "",
            compute_capability=self.gpu.compute_capability if self.gpu else "",
            driver=self.gpu.driver if self.gpu else "",
            jetpack=self.jetpack,
            power_mode=self.power_mode,
        )


def this_device(root: Path = Path("/")) -> Device:
    """Read what this machine is; `root` is where its file system begins."""
    jetson = _read(root / "proc/device-tree/model").rstrip("\0")
    jetson = jetson if "jetson" in jetson.lower() else ""
    return Device(
        machine=platform.machine(),
        processor=_processor(root),
        cores=_cores(root),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        realtime_kernel=_read(root / "sys/kernel/realtime").strip() == "1" or "PREEMPT_RT" in platform.version(),
        gpu=_gpu() or (Gpu(jetson) if jetson else None),
        jetpack=_first_line(root / "etc/nv_tegra_release"),
        power_mode=_read(root / "var/lib/nvpmodel/status").strip(),
    )


def _cores(root: Path) -> int:
    cpus = root / "sys/devices/system/cpu"
    # Hardware threads of one core name the same siblings; a kernel that does not say counts each as a core.
    names = {cpu: _read(cpus / f"cpu{cpu}/topology/thread_siblings_list").strip() for cpu in os.sched_getaffinity(0)}
    return len({name or str(cpu) for cpu, name in names.items()})


def _processor(root: Path) -> str:
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


def _gpu() -> Gpu | None:
    try:
        answer = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    fields = [field.strip() for field in answer.stdout.partition("\n")[0].split(",")]
    return Gpu(*fields) if len(fields) == 3 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _first_line(path: Path) -> str:
    return _read(path).partition("\n")[0].strip()
