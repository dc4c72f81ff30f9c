import io
import sys

import pytest

from st4vla.contracts.errors import MissingExtraError
from st4vla.training.commands.progress import counting_progress, training_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace standard error; not as a fixture, whose replacement pytest's own capture would replace."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_where_there_is_no_terminal_a_line_comes_now_and_then_and_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with training_progress(7, every=3) as progress:
        for step in range(7):
            progress(step, 1 / (step + 1))
    assert capsys.readouterr() == ("", "step 3 of 7: loss 0.3333\nstep 6 of 7: loss 0.1667\nstep 7 of 7: loss 0.1429\n")


def test_a_terminal_shows_a_bar_that_begins_where_the_run_left_off(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with training_progress(10) as progress:
        for step in range(6, 10):
            progress(step, 0.25)
    shown = stream.getvalue()
    assert "60%" in shown
    assert "10/10" in shown
    assert "loss 0.2500" in shown


def test_each_count_is_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with counting_progress("boxes") as progress:
        for _ in range(2):
            for done in range(1, 4):
                progress(done, 3)
    assert stream.getvalue().count("3/3") == 2


def test_a_count_without_a_terminal_has_a_line_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with counting_progress("boxes") as progress:
        progress(1, 2)
        progress(2, 2)
    assert capsys.readouterr().err == "2 boxes\n"


def test_a_bar_without_tqdm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with (
        pytest.raises(MissingExtraError, match=r"pip install 'st4vla\[train\]'"),
        training_progress(3) as progress,
    ):
        progress(0, 1.0)
