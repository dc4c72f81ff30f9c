"""The files by which a Jetson is known, for machines that only stand in for one.

Their forms are those of JetPack 6 on a Jetson Orin: `/etc/nv_tegra_release` of L4T, nvpmodel's state and list of modes,
the kernel's thermal zones in thousandths of a degree, and the board's voltage monitor in thousandths of a volt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Modes of nvpmodel by their number.
POWER_MODES = ("MAXN", "MODE_15W", "MODE_30W", "MODE_50W")


@dataclass(frozen=True)
class JetsonFiles:
    """What the files say.

    Attributes:
        model: Of the board.
        l4t: Release of its system: 36.4.3 is that of JetPack 6.2.
        power_mode: One of `POWER_MODES`.
        temperature_c: Of the warmest zone.
        supply_v: Of the board's supply.
    """

    model: str = "NVIDIA Jetson AGX Orin Developer Kit"
    l4t: str = "36.4.3"
    power_mode: str = "MAXN"
    temperature_c: float = 45.0
    supply_v: float = 19.0

    def write(self, root: Path) -> None:
        """Write them below a folder that stands for the root of the file system."""
        major, _, revision = self.l4t.partition(".")
        modes = "\n".join(f"< POWER_MODEL ID={number} NAME={name} >" for number, name in enumerate(POWER_MODES))
        files = {
            "etc/nv_tegra_release": f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, "
            "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n",
            "etc/nvpmodel.conf": f"{modes}\n< PM_CONFIG DEFAULT=0 >\n",
            "var/lib/nvpmodel/status": f"pmode:{POWER_MODES.index(self.power_mode):04d}\n",
            "proc/device-tree/model": f"{self.model}\0",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": f"{round(self.temperature_c * 1000) - 2500}\n",
            "sys/class/thermal/thermal_zone1/type": "tj-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": f"{round(self.temperature_c * 1000)}\n",
            "sys/class/hwmon/hwmon0/name": "ina3221\n",
            "sys/class/hwmon/hwmon0/in1_label": "VIN_SYS_5V0\n",
            "sys/class/hwmon/hwmon0/in1_input": f"{round(self.supply_v * 1000)}\n",
        }
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
