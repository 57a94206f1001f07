"""The live block, as the screen of a terminal shows it."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import attrs
import pytest

from seedwise.view import faces as module
from seedwise.view.faces import LiveBlock, is_capable
from tests.builders import pool_status, run_status
from tests.terminal import Terminal

WAITING = "other jobs have a higher priority (Priority); another partition may be free by now"
STATUS = run_status(
    failed=1,
    running=4,
    running_seeds=400,
    running_seeds_done=100,
    trials_per_s=0.5,
    seeds_per_s=1234.0,
    busy_share=0.92,
    seeds_saved=3400,
    best_value=1 / 3,
    best_stderr=0.0125,
    pool=pool_status(waiting=WAITING),
)
BLOCK = [
    "",
    "trials        ━━━━━━────────────────────────  4 of 20 told, 1 failed",
    "running       ━━━━━━━╸──────────────────────  100 of 400 seeds of 4 trials",
    "rate          30 a minute",
    "seeds         1234 a second; 3400 saved by the race",
    "busy          92 % of the workers' time",
    "best so far   0.333333 ± 0.013",
    "workers       3 at work, 5 pending of 8 wanted (2 to 10)",
    "waiting       other jobs have a higher priority (Priority); another partition",
    "              may be free by now",
]


@pytest.fixture(autouse=True)
def color(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def block(terminal) -> LiveBlock:
    return LiveBlock(terminal.stream)


def shown(lines: list[str]) -> list[str]:
    """Return lines without the empty ones at the end of the screen."""
    return lines[: max((n for n, line in enumerate(lines, start=1) if line), default=0)]


def test_the_block_is_below_the_lines_and_the_cursor_above_it(block, terminal):
    block.write(["run folder a"], None)
    block.write(["a new best", "a note"], STATUS)
    lines = ["seedwise: run folder a", "seedwise: a new best", "seedwise: a note"]
    assert shown(terminal.read()) == lines + BLOCK
    assert (terminal.screen.cursor.y, terminal.screen.cursor.x) == (3, 0)
    assert not terminal.screen.cursor.hidden
    block.write(["the end"], None)
    assert shown(terminal.read()) == [*lines, "seedwise: the end"]


def test_a_block_replaces_the_one_before_of_any_height(block, terminal):
    for status in (STATUS, run_status(), STATUS, attrs.evolve(STATUS, done=13)):
        block.write([], status)
        terminal.read()
    block.write(["a note"], None)
    assert shown(terminal.read()) == ["seedwise: a note"]


def test_at_the_bottom_of_the_window_the_lines_scroll_and_the_block_stays(block, terminal):
    for n in range(40):
        block.write([f"best {n}"], STATUS)
        terminal.read()  # a terminal that is not read takes little
    n_rows = 24 - len(BLOCK)
    expected = [f"seedwise: best {n}" for n in range(40)]
    assert terminal.read() == expected[-n_rows:] + BLOCK
    assert terminal.all_lines == expected + BLOCK


def test_what_others_write_stays_above_the_block(block, terminal):
    block.write(["a"], STATUS)
    terminal.stream.write("a worker says no\n")
    block.write([], STATUS)
    terminal.stream.write("Traceback\n  of two lines\n")
    block.write(["b"], STATUS)
    before = shown(terminal.read())[: -len(BLOCK)]
    assert before[:3] == ["seedwise: a", "a worker says no", "Traceback"]
    assert before[3].startswith("  of two lines")  # and what it left of the block
    assert before[4:] == ["seedwise: b"]


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 20, 3])
def test_nothing_wraps_in_a_window_of_another_size(block, terminal, columns):
    block.write(["a"], STATUS)
    terminal.read()
    terminal.resize(columns, 60)
    block.write(["b"], STATUS)
    lines = terminal.read()
    assert [line for line in lines if "seedwise"[:columns] in line][-1] == "seedwise: b"[:columns]
    rows = shown(lines)
    assert max(map(len, rows)) < max(columns, 12)
    if columns >= 40:  # all is there
        text = " ".join(" ".join(rows).split())
        assert all(word in text for word in f"1234 saved by 5 pending {WAITING}".split())
    block.write([], None)
    terminal.resize(200, 60)
    assert "trials" not in " ".join(terminal.read())


def test_in_a_low_window_the_block_is_cut(block, terminal):
    terminal.resize(80, 6)
    block.write(["a"], STATUS)
    block.write(["b"], STATUS)
    assert terminal.read() == ["seedwise: b", *BLOCK[:5]]
    assert terminal.all_lines == ["seedwise: a", "seedwise: b", *BLOCK[:5]]


@pytest.mark.parametrize(("size", "rows"), [((0, 0), BLOCK), ((80, 2), [])])
def test_a_window_may_have_no_size_or_no_room(block, terminal, monkeypatch, size, rows):
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size(size))
    for line in "ab":
        block.write([line], STATUS)
    assert shown(terminal.read()) == ["seedwise: a", "seedwise: b", *rows]


def test_a_line_costs_no_new_block(block, terminal, monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "_text", lambda *args: drawn.append(args) or module.Text("it"))
    for _ in range(9):
        block.write(["a"], STATUS)
        terminal.read()
    assert len(drawn) == 1


def test_colours_are_left_out_if_asked_for(terminal, monkeypatch):
    LiveBlock(terminal.stream).write([], STATUS)
    terminal.read()
    assert b"\x1b[36m" in terminal.written
    monkeypatch.setenv("NO_COLOR", "1")
    LiveBlock(terminal.stream).write([], STATUS)
    terminal.written = b""
    assert shown(terminal.read())[-len(BLOCK) :] == BLOCK
    assert re.findall(rb"\x1b\[[\d;]*m", terminal.written)  # dim, as before
    assert not re.findall(rb"\x1b\[(?:[39][0-7]|4[0-7])[\d;]*m", terminal.written)


def test_without_the_letters_for_it_a_bar_is_of_ascii(terminal):
    stream = io.TextIOWrapper(terminal.stream.buffer, "ascii", errors="backslashreplace")
    LiveBlock(stream).write([], run_status(done=5))
    assert terminal.read()[1] == "trials        #######-----------------------  5 of 20 told"
    stream.detach()


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_can_not_move_its_cursor_has_no_block(terminal, monkeypatch, term):
    assert is_capable(terminal.stream)
    monkeypatch.setenv("TERM", term)
    assert not is_capable(terminal.stream)


def test_below_a_cell_of_a_notebook_a_command_has_no_block(terminal, monkeypatch):
    """A cell with ``!python fit.py`` gives it a terminal, but keeps all that was drawn."""
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not is_capable(terminal.stream)


def test_a_stream_that_is_no_terminal_has_no_block(tmp_path):
    assert not is_capable(io.StringIO())
    with (tmp_path / "log").open("w") as file:
        assert not is_capable(file)


def test_in_the_background_there_is_no_block_where_the_user_types(block, terminal, monkeypatch):
    block.write(["a"], STATUS)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    assert not is_capable(terminal.stream)
    terminal.read()
    terminal.written = b""
    block.write(["b"], STATUS)
    block.write([], STATUS)
    terminal.read()
    assert terminal.written == b"seedwise: b\r\n"
    monkeypatch.undo()
    block.write(["c"], STATUS)
    assert shown(terminal.read()) == ["seedwise: a", "seedwise: b", "seedwise: c", *BLOCK]


# A run, in a terminal of its own.

SCRIPT = """
import os
import sys
import time
from pathlib import Path
import seedwise as sw

HOLD = os.environ.get("HOLD")  # a folder whose file "3" holds the third trial


@sw.loss(name="slow", description="takes its time", parameter_space={"x": (0.0, 1.0)})
def slow(params, seed):
    time.sleep(0.05)
    if seed == 3 and "fails" in sys.argv:
        raise ValueError("seed 3 is too much")
    if seed == 2:
        print("a worker writes")
    if seed == 5 and HOLD:
        with Path(HOLD, "count").open("a") as file:
            file.write("x")
            file.flush()
            while Path(HOLD, str(file.tell())).exists():
                time.sleep(0.01)
    return params["x"] + seed


if __name__ == "__main__":
    options = {"n_trials": 6, "n_seeds": 12, "workers": 1, "random_seed": 1}
    print(sw.optimize_run(slow, run_name="run", max_concurrent_trials=1, **options).n_trials)
"""


@pytest.fixture
def run(terminal, tmp_path):
    """Run the script in the terminal."""
    (tmp_path / "fit.py").write_text(SCRIPT)
    source = str(Path(module.__file__).parents[2])

    def start(*words: str, **env: str) -> None:
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        terminal.run([sys.executable, "fit.py", *words], tmp_path, PYTHONPATH=path, **env)

    return start


def bar_of(title: str):
    return lambda lines: any(line.startswith(f"{title}  ") and "━" in line for line in lines)


def test_a_run_shows_its_block_and_leaves_its_lines(run, terminal, tmp_path):
    (tmp_path / "2").touch()
    (tmp_path / "6").touch()
    run(HOLD=str(tmp_path))
    terminal.read_until(lambda lines: any("  best so far  " in line for line in lines))
    there = "workers       1 at work of 1 wanted"  # once the pool has been looked at
    terminal.read_until(
        lambda lines: bar_of("trials")(lines) and any(line.startswith(there) for line in lines)
    )
    assert not terminal.screen.cursor.hidden
    terminal.resize(60, 24)
    (tmp_path / "2").unlink()
    terminal.read_until(lambda lines: any(" 5 of 6 told" in line for line in lines))
    (tmp_path / "6").unlink()
    assert terminal.read_to_the_end() == 0
    *before, last = shown(terminal.all_lines)
    assert last == "6"
    assert "a worker writes" in before
    assert not any(line.startswith(("trials  ", "workers  ")) for line in before)
    assert not terminal.screen.cursor.hidden


def test_after_ctrl_c_the_command_that_resumes_it_is_last(run, terminal):
    run()
    terminal.read_until(bar_of("trials"))
    terminal.press_ctrl_c()
    assert terminal.read_to_the_end() == 130
    text = "".join(shown(terminal.lines)[-3:])
    assert "trials told; nothing is lost" in text
    assert text.endswith("/runs/run")
    assert not any(line.startswith("workers  ") for line in terminal.lines)


def test_a_traceback_is_not_among_the_rows_of_a_block(run, terminal):
    run("fails")
    assert terminal.read_to_the_end() == 1
    text = "\n".join(terminal.all_lines)
    assert "ValueError: seed 3 is too much" in text
    assert "━" not in text
    assert "workers  " not in text


def test_a_dumb_terminal_gets_lines_alone(run, terminal):
    run(TERM="dumb")
    assert terminal.read_to_the_end() == 0
    assert b"\x1b" not in terminal.written
    assert sum("best so far" in line for line in terminal.all_lines) >= 1
