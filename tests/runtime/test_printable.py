import pytest

from st4vla.runtime.printable import client_name, columns, fit, printable


def test_nothing_of_a_stranger_moves_the_cursor_or_turns_the_text_around() -> None:
    told = printable("a\x1b[2Jb\r\nc\u202ed\x00\x9be\u200f", 80)
    assert told == "a?[2Jb c?d??e?"


@pytest.mark.parametrize(("text", "limit", "told"), [("lift it", 7, "lift it"), ("lift it up", 7, "lift i\u2026")])
def test_text_is_cut_where_it_is_too_long(text: str, limit: int, told: str) -> None:
    assert printable(text, limit) == told


@pytest.mark.parametrize(
    ("text", "width", "told"),
    [
        ("ab", 4, "ab  "),
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc\u2026"),
        ("\u7ea2\u7ea2", 4, "\u7ea2\u7ea2"),
        ("\u7ea2\u7ea2\u7ea2", 4, "\u7ea2\u2026 "),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("abc", 0, ""),
    ],
)
def test_text_is_fitted_to_columns_of_a_terminal(text: str, width: int, told: str) -> None:
    assert fit(text, width) == told
    assert columns(told) == width


def test_clients_have_short_names_that_differ_and_say_their_door() -> None:
    names = {client_name(b"zmq:c" + bytes([number])) for number in range(100)}
    assert len(names) == 100
    assert all(name.startswith("zmq:") and len(name) == 10 and name.isascii() for name in names)
    assert client_name(b"\xff\x00") == client_name(b"\xff\x00")
    assert client_name(b"\x1b[2J:x").startswith("?[2J:")
