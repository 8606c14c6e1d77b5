"""Several processes report what one does, byte for byte; they die, are interrupted and end without leaving anything behind."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from loren.data.check import check_file
from loren.data.contract import Contract, Verdict
from loren.data.judge import BIG_FILE_BYTES, judge, usual_processes
from loren.data.reader import Line, LineReader
from loren.data.rows import Row
from loren.errors import ConfigError, PrerequisiteError
from loren.task.definition import load_task

ROOT = Path(__file__).parents[3]
TASK = ROOT / "tests" / "tasks"


def row(question: str, reply: object = "Yes.", **keys: object) -> bytes:
    value = {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}], **keys}
    return json.dumps(value, ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def mixed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 8 MB of every kind of line: more than three blocks, lines across their borders, the last without an end."""
    kinds = [
        *(row(f"Câu hỏi số {n}?", situation=f"s{n}", customer=n) for n in range(40)),
        row("ann@example.com, 0912 345 678"),
        *(row(f"Câu {n}?", '{"category": "billing", "priority": "low", "answer": "Vâng: được ạ."}') for n in range(20)),
        row("Q?", '{"mood": "good"}'),
        row("", more=1),
        b"",
        b" \r",
        b"x",
        b"\xff",
        b'{"messages": [' + b"1," * 300 + b"1]}",
        row("a" * 30_000),
    ]
    path = tmp_path_factory.mktemp("judge") / "rows.jsonl"
    path.write_bytes(b"\n".join([*kinds * 60, b"y" * 5_000_000, *kinds]))
    return path


def written(path: Path, processes: int) -> tuple[str, list[Row]]:
    rows: list[Row] = []
    report = check_file(path, load_task(ROOT / "examples" / "support-vi" / "task"), processes=processes, on_row=rows.append)
    out = io.StringIO()
    report.write_json(out)
    assert report.blank_lines > 60
    return out.getvalue(), rows


def test_two_processes_report_what_one_does(mixed_file: Path) -> None:
    one, rows = written(mixed_file, 1)
    two, same_rows = written(mixed_file, 2)
    assert one == two
    assert rows == same_rows
    assert rows
    assert {"D001", "D003", "D004", "D201", "D203", "D301", "D302"} <= {rule["rule"] for rule in json.loads(one)["rules"]}


def test_lines_from_elsewhere_are_handed_out_too(mixed_file: Path) -> None:
    lines = list(LineReader(io.BytesIO(mixed_file.read_bytes()[:200_000])))
    one, two = ([(n, list(v.breaches)) for n, v in judge(iter(lines), Contract(), with_rows=False, processes=p)] for p in (1, 2))
    assert one == two
    assert len(one) == len(lines) > 300


def test_a_big_file_gets_the_cores(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"")
    assert usual_processes(path) == usual_processes(tmp_path / "none") == 1
    os.truncate(path, BIG_FILE_BYTES)
    assert usual_processes(path) == min(8, len(os.sched_getaffinity(0)))


def children() -> list[psutil.Process]:
    """The processes of a check that live; what else this process started, a server of other tests perhaps, is left alone."""
    living = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.3])
def test_a_process_that_dies_is_an_error_and_the_others_end(mixed_file: Path, after_s: float) -> None:
    """Also in the middle of an answer."""
    stream = io.BytesIO((mixed_file.read_bytes() + b"\n") * 4)
    verdicts = judge(LineReader(stream), Contract(), with_rows=False, processes=2)
    next(verdicts)
    time.sleep(after_s)
    children()[0].kill()
    with pytest.raises(PrerequisiteError, match="one died") as caught:
        list(verdicts)
    assert "--processes 1" in caught.value.hint
    assert not children()


class Faulty(Contract):
    """A contract with a fault; its lines need not be read."""

    def check_all(self, lines: Sequence[Line], *, with_rows: bool = True) -> list[Verdict]:
        raise EOFError(f"line {lines[0].number}")


def test_what_a_rule_raises_arrives_as_it_is(mixed_file: Path) -> None:
    with mixed_file.open("rb") as stream, pytest.raises(EOFError, match="line 1") as caught:
        list(judge(LineReader(stream), Faulty(), with_rows=False, processes=2))
    assert "in check" in caught.value.__notes__[0]
    assert not children()


def test_what_the_file_raises_is_no_death(mixed_file: Path) -> None:
    whole = gzip.compress(mixed_file.read_bytes())
    with gzip.open(io.BytesIO(whole[:-100])) as stream, pytest.raises(EOFError, match="Compressed file"):
        list(judge(LineReader(stream), Contract(), with_rows=False, processes=2))
    assert not children()


def test_who_stops_listening_leaves_no_process(mixed_file: Path) -> None:
    with mixed_file.open("rb") as stream:
        verdicts = judge(LineReader(stream), Contract(), with_rows=False, processes=2)
        next(verdicts)
        assert len(children()) >= 2
        del verdicts
    assert not children()


def test_a_task_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("task.toml").write_text('name = "x"\nlanguage = "en"\nversion = "1"\n', encoding="utf-8")
    rebuild, arguments = load_task(tmp_path).__reduce__()
    assert callable(rebuild)
    assert isinstance(arguments, tuple)
    assert rebuild(*arguments).version == "1"
    tmp_path.joinpath("task.toml").write_text('name = "x"\nlanguage = "en"\nversion = "2"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="changed"):
        rebuild(*arguments)


@pytest.mark.parametrize(("number", "after_s"), [(signal.SIGINT, 0.0), (signal.SIGINT, 0.5), (signal.SIGKILL, 0.5)])
def test_an_interrupted_check_leaves_no_process_and_no_traceback(
    mixed_file: Path, tmp_path: Path, number: int, after_s: float
) -> None:
    """Also in the moment in which the other processes begin."""
    path = tmp_path / "endless.jsonl"
    path.write_bytes((mixed_file.read_bytes() + b"\n") * 20)
    command = [sys.executable, "-m", "loren", "check", str(path), "--processes", "2"]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; a program that starts would keep it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    process = psutil.Process(run.pid)
    while len(process.children(recursive=True)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(after_s)
    others = process.children(recursive=True)
    assert len(others) >= 2
    if number == signal.SIGINT:
        os.killpg(run.pid, number)  # as a terminal does: to all of them
    else:
        run.kill()
    out, err = run.communicate(timeout=900)
    assert (out, "Traceback" in err) == ("", False)
    assert run.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert psutil.wait_procs(others, timeout=900)[1] == []
