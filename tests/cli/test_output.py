"""How things are written: columns, names, and how far work is."""

import io
import os

import pytest

from csi_driver.cli.driver import amounts
from csi_driver.cli.output import emit_fields, emit_json, emit_table, printable
from csi_driver.cli.progress import Lines, meter
from csi_driver.transfer.progress import Progress, describe


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("Prüfling 🤖", "Prüfling 🤖"),
        ("two\nlines\tof \x1b[31mred", r"two\nlines\tof \x1b[31mred"),
        ("right\u202eleft", r"right\u202eleft"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
    ],
)
def test_names_cannot_do_anything_to_a_terminal(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_columns_are_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table(("NAME", "SIZE"), [("x" * 200, "1 B"), ("y", "12 MiB")], right=(1,))
    emit_table(("NAME", "SIZE"), [])
    wide = "x" * 200
    assert capsys.readouterr().out.splitlines() == [
        f"{'NAME':200}    SIZE",
        f"{wide}     1 B",
        f"{'y':200}  12 MiB",
        "NAME  SIZE",
    ]


def test_fields_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    emit_fields({"Name": "x", "Family": "", "Digest": "sha256:1"})
    assert capsys.readouterr().out == "Name    x\nDigest  sha256:1\n"


def test_json_is_ascii_whatever_the_names_are(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"path": os.fsdecode(b"caf\xe9"), "name": "Prüfling"})
    assert capsys.readouterr().out == '{\n  "path": "caf\\udce9",\n  "name": "Pr\\u00fcfling"\n}\n'


def test_without_a_terminal_progress_is_a_line_every_five_seconds() -> None:
    now = [0.0]
    stream = io.StringIO()
    lines = Lines(stream, clock=lambda: now[0])
    for second in range(13):
        now[0] = float(second)
        lines.show("pulling", second << 20, 100 << 20)
    assert stream.getvalue().splitlines() == [
        "pulling: 5 % (5.0 MiB of 100.0 MiB), 1.0 MiB/s",
        "pulling: 10 % (10.0 MiB of 100.0 MiB), 1.0 MiB/s",
    ]


def test_an_unknown_total_is_no_total() -> None:
    now = [0.0]
    stream = io.StringIO()
    lines = Lines(stream, clock=lambda: now[0])
    now[0] = 6.0
    lines.show("pulling", 1 << 20, 0)
    assert stream.getvalue() == "pulling: 1.0 MiB, 0 B/s\n"


def test_a_note_is_written_once_as_long_as_it_stays_the_same() -> None:
    stream = io.StringIO()
    with meter(stream) as shown:
        for text in ("registry away", "registry away", "registry\naway", "registry away"):
            shown.note(text)
    assert stream.getvalue() == "registry away\nregistry\\naway\nregistry away\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_are_bars_and_they_are_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with meter(terminal) as shown:
        shown.show("pulling [1]", 1 << 20, 2 << 20)
        shown.note("[red]registry away[/red]")
        shown.note("[red]registry away[/red]")
        shown.show("pulling [1]", 2 << 20, 0)
    drawn = terminal.getvalue()
    assert drawn.count("[red]registry away[/red]") == 1
    assert "pulling [1]" in drawn
    assert drawn.endswith("\x1b[1A\x1b[2K")  # the last thing done is to clear the line of the bar


def test_the_driver_s_own_words_tell_the_bytes() -> None:
    progress = Progress(26 << 30)
    progress.advance(13 << 30)
    assert amounts(f"pulling host/model:v1: {describe(progress)}") == (13 << 30, 26 << 30)
    assert amounts("pulling host/model:v1: the registry has not answered yet") is None
