from pathlib import Path

from st4vla.runtime.flashing.layout import SlotLayout
from st4vla.runtime.flashing.room import MIB, why_no_room


def test_two_policies_are_loaded_at_once_only_where_memory_allows_it(tmp_path: Path) -> None:
    slot = SlotLayout(tmp_path / "slot")
    slot.engines.mkdir(parents=True)
    with (slot.engines / "planner.engine").open("wb") as engine:
        engine.truncate(100 * MIB)
    (tmp_path / "proc").mkdir()

    def available(mib: int) -> None:
        (tmp_path / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:    {mib * 1024} kB\n")

    available(300)
    # Its engines take 200 MiB, by their files, and 64 stay free.
    assert why_no_room(slot, 50 * MIB, 64 * MIB, tmp_path) is None
    # One like the one that runs takes as much as that.
    why = why_no_room(slot, 250 * MIB, 64 * MIB, tmp_path)
    assert why == "300 MiB of memory are available, and a second policy needs about 314 MiB"
    available(263)
    assert why_no_room(slot, 0, 64 * MIB, tmp_path) is not None
