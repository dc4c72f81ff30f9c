import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from st4vla.export.quantization.deviation import Deviation
from st4vla.export.quantization.sensitivity import Sensitivity
from st4vla.export.quantization.tables import COLUMNS, write_picture, write_table

ALONE = [
    Sensitivity("planner", "layers.0", "int4", Deviation(0.99, 0.98, 0.25)),
    Sensitivity("planner", "layers.0", "int8", Deviation(0.9999, 0.9998, 0.0125)),
    Sensitivity("sampler", "transformer.blocks.0", "int8", Deviation(-1, -1, float("nan"))),
]
CHOSEN = {
    "planner": {"layers.0": "int8"},
    "bridge": {"keys": "float32"},
    "sampler": {"transformer.blocks.0": "float32"},
}


def test_the_table_has_one_row_a_measurement_and_says_what_was_chosen(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ALONE, CHOSEN)
    with (tmp_path / "table.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert rows == [
        ["planner", "layers.0", "int4", "1.000e-02", "2.000e-02", "2.500e-01", ""],
        ["planner", "layers.0", "int8", "1.000e-04", "2.000e-04", "1.250e-02", "yes"],
        ["sampler", "transformer.blocks.0", "int8", "2.000e+00", "2.000e+00", "nan", ""],
    ]
    assert b"\r" not in (tmp_path / "table.csv").read_bytes()


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert "Software" not in picture.info
        return np.asarray(picture.convert("RGB"))


def rings(pixels: np.ndarray) -> int:
    """Count pixels of the rings' colour."""
    return int((np.abs(pixels.astype(int) - (0xD5, 0x5E, 0)).sum(axis=2) < 30).sum())


def test_the_picture_has_a_panel_a_graph_and_a_ring_a_block(tmp_path: Path) -> None:
    write_picture(tmp_path / "picture.png", ALONE, CHOSEN)
    pixels = drawn(tmp_path / "picture.png")
    height, width = pixels.shape[:2]
    # The planner's and the sampler's; nothing was measured of the bridge.
    assert (width, 150 < height < 400) == (round(2 * 4.2 * 110), True)
    assert rings(pixels) > 30
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_the_picture_grows_with_the_number_of_blocks(tmp_path: Path) -> None:
    names = [f"layers.{number}" for number in range(40)]
    alone = [Sensitivity("planner", name, "int8", Deviation(0.999, 0.999, 0.01)) for name in names]
    write_picture(tmp_path / "picture.png", alone, {"planner": dict.fromkeys(names, "int8")})
    pixels = drawn(tmp_path / "picture.png")
    assert pixels.shape[:2] == pytest.approx(((1.6 + 0.24 * 40) * 110, 4.2 * 110), abs=2)


def test_tables_of_nothing_measured_are_drawn_too(tmp_path: Path) -> None:
    chosen = {graph: dict.fromkeys(blocks, "float32") for graph, blocks in CHOSEN.items()}
    write_table(tmp_path / "table.csv", [], chosen)
    write_picture(tmp_path / "picture.png", [], chosen)
    assert (tmp_path / "table.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert rings(drawn(tmp_path / "picture.png")) > 50
