import hashlib
import os
import threading
from pathlib import Path

import pytest

from st4vla.contracts.errors import FileAlteredError, FileMissingError, StorageError, TransportError
from st4vla.contracts.files import FileEntry
from st4vla.contracts.flash_messages import WantedObject
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.store import Store

DATA = bytes(range(256)) * 40
PIECE = 1000


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "device").mkdir()
    return Layout(tmp_path / "device")


def entry_of(data: bytes) -> FileEntry:
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


ENTRY = entry_of(DATA)


def send(store: Store, data: bytes = DATA, begin: int = 0, end: int | None = None) -> bool:
    """Send a part of an object in pieces."""
    entry, whole, end = entry_of(DATA), False, len(data) if end is None else end
    for offset in range(begin, end, PIECE):
        whole = store.receive(entry.sha256, entry.size, offset, data[offset : min(offset + PIECE, end)])
    return whole


def test_an_object_appears_when_it_is_whole_and_cannot_be_written_to(layout: Layout) -> None:
    store = Store(layout)
    assert store.missing({"a": ENTRY, "b": ENTRY}) == (WantedObject(ENTRY.sha256, len(DATA), 0),)
    assert not send(store, end=5 * PIECE)
    assert not layout.object(ENTRY.sha256).exists()
    assert send(store, begin=5 * PIECE)
    assert layout.object(ENTRY.sha256).read_bytes() == DATA
    assert layout.object(ENTRY.sha256).stat().st_mode & 0o777 == 0o444
    assert store.missing({"a": ENTRY}) == ()
    assert list(layout.incoming.iterdir()) == []
    # Somebody who sends it all the same is told that it is there.
    assert send(store, end=PIECE)


def test_another_connection_goes_on_where_the_last_one_was_cut(layout: Layout) -> None:
    send(Store(layout), end=3 * PIECE)
    store = Store(layout)
    assert store.missing({"a": ENTRY}) == (WantedObject(ENTRY.sha256, len(DATA), 3 * PIECE),)
    assert send(store, begin=3 * PIECE)
    assert layout.object(ENTRY.sha256).read_bytes() == DATA


def test_bytes_that_a_power_cut_changed_are_found_and_all_come_again(layout: Layout) -> None:
    send(Store(layout), end=3 * PIECE)
    (part,) = layout.incoming.iterdir()
    with part.open("r+b") as stream:
        stream.write(b"\xff\xff")
    store = Store(layout)
    with pytest.raises(FileAlteredError, match=f"the bytes of object {ENTRY.sha256[:12]} have the SHA-256"):
        send(store, begin=3 * PIECE)
    assert store.missing({"a": ENTRY}) == (WantedObject(ENTRY.sha256, len(DATA), 0),)
    assert send(store)


def test_an_object_whose_last_byte_came_just_before_the_power_was_cut_needs_no_other(layout: Layout) -> None:
    send(Store(layout), end=PIECE)
    (part,) = layout.incoming.iterdir()
    part.write_bytes(DATA)
    assert Store(layout).missing({"a": ENTRY}) == ()
    assert layout.object(ENTRY.sha256).read_bytes() == DATA


def test_an_object_never_grows_beyond_its_size(layout: Layout) -> None:
    store = Store(layout)
    send(store, end=9 * PIECE)
    with pytest.raises(FileAlteredError, match=f"has {len(DATA)} bytes by its manifest, but more came"):
        store.receive(ENTRY.sha256, ENTRY.size, 9 * PIECE, bytes(2 * PIECE))
    assert list(layout.incoming.iterdir()) == []


def test_a_gap_is_refused_and_nothing_is_lost(layout: Layout) -> None:
    store = Store(layout)
    send(store, end=PIECE)
    with pytest.raises(TransportError, match="bytes from 5000 on came after 1000; offer the bundle again"):
        send(store, begin=5 * PIECE)
    assert send(store, begin=PIECE)


def test_what_is_no_digest_never_becomes_a_path(layout: Layout) -> None:
    for name in ("../../etc/passwd", "AB" * 32, "ab" * 31, ""):
        with pytest.raises(FileAlteredError, match="is no SHA-256 in hexadecimal"):
            Store(layout).receive(name, 1, 0, b"a")
        with pytest.raises(FileAlteredError, match="is no SHA-256 in hexadecimal"):
            Store(layout).missing({"a": FileEntry(name, 1)})


def test_one_digest_in_two_sizes_is_refused(layout: Layout) -> None:
    with pytest.raises(FileAlteredError, match="gives b a size that cannot be"):
        Store(layout).missing({"a": ENTRY, "b": FileEntry(ENTRY.sha256, 3)})


def test_an_empty_object_is_there_without_being_sent(layout: Layout) -> None:
    assert Store(layout).missing({"a": entry_of(b"")}) == ()
    assert layout.object(entry_of(b"").sha256).read_bytes() == b""
    assert len(Store(layout).missing({"a": FileEntry("ab" * 32, 0)})) == 1


def test_two_that_send_the_same_object_at_once_do_not_disturb_each_other(layout: Layout) -> None:
    failed: list[BaseException] = []

    def bring() -> None:
        try:
            assert send(Store(layout))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert layout.object(ENTRY.sha256).read_bytes() == DATA


def test_a_disk_without_room_is_found_before_a_byte_travels(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = os.statvfs(layout.root)
    free = disk.f_bavail * disk.f_frsize
    store = Store(layout, reserve_bytes=1 << 20)
    store.missing({"a": FileEntry("ab" * 32, free // 2)})
    with pytest.raises(StorageError, match=r"has \d+ bytes too few for this bundle: .* 1048576 must stay free; free"):
        store.missing({"a": FileEntry("ab" * 32, free // 2), "b": FileEntry("cd" * 32, free // 2)})


def test_a_full_disk_ends_in_a_sentence_and_what_came_is_gone_on_with(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pwrite = Store(layout), os.pwrite
    send(store, end=2 * PIECE)

    def half(descriptor: int, data: memoryview, offset: int) -> int:
        if offset >= 3 * PIECE:
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, data[: PIECE // 2], offset)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(
        StorageError, match=r"is full \(\d+ bytes are free\) while object .* arrives; nothing is lost: free some space"
    ):
        send(store, begin=2 * PIECE)
    monkeypatch.undo()
    (wanted,) = store.missing({"a": ENTRY})
    assert wanted.offset == 3 * PIECE
    assert send(store, begin=wanted.offset)


def test_a_file_of_a_folder_is_taken_or_named(layout: Layout, tmp_path: Path) -> None:
    store, path = Store(layout), tmp_path / "weights"
    path.write_bytes(DATA)
    store.add_file(path, ENTRY)
    store.add_file(path, ENTRY)
    assert layout.object(ENTRY.sha256).read_bytes() == DATA
    for data, match in ((DATA[:-1] + b"x", "was altered: the bytes"), (DATA[:-1], "it is shorter"), (DATA * 2, "more")):
        path.write_bytes(data)
        with pytest.raises(FileAlteredError, match=match) as caught:
            store.add_file(path, FileEntry(hashlib.sha256(DATA + b"y").hexdigest(), len(DATA)))
        assert str(path) in str(caught.value)
    with pytest.raises(FileMissingError, match="none is missing"):
        store.add_file(tmp_path / "none", entry_of(b"other"))
    assert list(layout.incoming.iterdir()) == []


def test_a_file_of_a_folder_is_taken_though_a_bad_part_of_it_lies_there(layout: Layout, tmp_path: Path) -> None:
    send(Store(layout), bytes(len(DATA)), end=PIECE)
    (tmp_path / "weights").write_bytes(DATA)
    Store(layout).add_file(tmp_path / "weights", ENTRY)
    assert layout.object(ENTRY.sha256).read_bytes() == DATA


def test_what_nobody_needs_is_collected_and_what_a_slot_or_an_offer_needs_is_not(
    layout: Layout, tmp_path: Path
) -> None:
    store = Store(layout)
    for index, data in enumerate((b"in a slot", b"offered", b"nobody's")):
        (tmp_path / f"{index}").write_bytes(data)
        store.add_file(tmp_path / f"{index}", entry_of(data))
    layout.slot("a").bundle.mkdir(parents=True)
    os.link(layout.object(entry_of(b"in a slot").sha256), layout.slot("a").bundle / "file")
    send(store, end=PIECE)
    assert store.collect(lambda: {entry_of(b"offered").sha256, ENTRY.sha256}) > 0
    assert [layout.object(entry_of(data).sha256).exists() for data in (b"in a slot", b"offered", b"nobody's")] == [
        True,
        True,
        False,
    ]
    assert len(list(layout.incoming.iterdir())) == 1
    store.collect(frozenset)
    assert list(layout.incoming.iterdir()) == []
    assert layout.object(entry_of(b"in a slot").sha256).exists()
    assert not layout.object(entry_of(b"offered").sha256).exists()
    # The part that another has collected is not written to any more.
    assert send(store)
