"""What makes an evaluation worthless: questions that were trained on are refused, and answers that are garbage reach nothing."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from keyword_task import make_project, questions
from loren.data.replay import choose_replay
from loren.errors import DataContractError
from loren.evaluate.arms import Asking
from loren.evaluate.golden import Wishes, evaluate_run
from loren.evaluate.sanity import check_sanity
from loren.runs.files import read_json, write_json
from loren.runs.folder import RunFolder
from project import loren
from running import train_here

SETTINGS = "[train]\nmax_steps = 2\n[data]\nreplay = 0.1\nmax_length = 2048\n"
GOLDEN = 24
GARBAGE = [
    "", " ", "\x00\x01", "NaN", '{"team": NaN}', '{"team": "blue"', '"team": "blue"', '{"team": "blue"} {"team": "blue"}',
    "[" * 5000,
    "```json\n{}\n```", "�" * 50, "1e999", '{"team": "blue", "team": "red"}', "đ" * 20_000, "-", "Infinity", "<|im_end|>" * 30,
]  # fmt: skip
"""None of it is a JSON value."""


def quiet(*_: object) -> None:
    """Says and shows nothing."""


ASK: dict[str, Any] = {"say": quiet, "fetching": lambda: nullcontext(quiet)}
WISHES = Wishes(("base", "adapter"), guard=False, train_sample=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = make_project(tmp_path_factory.mktemp("unseen"), tiny_base, settings=SETTINGS, golden=GOLDEN)
    train_here(folder)
    return folder


@pytest.fixture
def project(trained: Path) -> Iterator[Path]:
    """The project, whose run names its task by path: what a test does to both is put right after it."""
    golden = trained / "task" / "golden.jsonl"
    text = golden.read_text()
    yield trained
    golden.write_text(text)
    (trained / "task" / "sanity.jsonl").unlink(missing_ok=True)
    shutil.rmtree(trained / "runs" / "a" / "eval", ignore_errors=True)


def ask_also(path: Path, question: str, *, situation: str = "new") -> int:
    """Add a question; its line."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": '{"team": "red"}'}]
    lines.append(json.dumps({"id": "new", "situation": situation, "messages": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def trained_on(project: Path, part: str = "train") -> tuple[int, str]:
    """Line and question of a row of a part of the split."""
    split: Any = read_json(project / "runs" / "a" / "data" / "split.json")
    line = int(split["splits"][part]["members"][3]["line"])
    return line, questions(120, seed=1)[line - 1][0]


def test_a_golden_set_that_leaks_is_refused_with_both_lines(project: Path) -> None:
    (line, question), (other, _) = trained_on(project), trained_on(project, "validation")
    golden = project / "task" / "golden.jsonl"
    here = ask_also(golden, f"{question.upper()}!")
    there = ask_also(golden, "A question that nobody asked before.", situation=f"t-{other - 1}")
    done = loren("evaluate", "runs/a", "--variants", "base,adapter", cwd=project)
    assert done.returncode == 3, done.stderr
    assert "golden.jsonl: 2 golden question(s) or situation(s)" in done.stderr
    for trained_line, golden_line in ((line, here), (other, there)):
        assert [
            f"golden.jsonl:{golden_line}" in text for text in done.stderr.splitlines() if f"train.jsonl:{trained_line} " in text
        ] == [True]
    assert question.split()[0] not in done.stderr.lower()
    assert not (project / "runs" / "a" / "eval").exists()
    with pytest.raises(DataContractError, match="2 golden question"):  # no sample is too small for it
        evaluate_run(RunFolder(project / "runs" / "a"), Wishes(limit=4), Asking(64), **ASK)


def test_general_rows_were_trained_on_too(project: Path) -> None:
    run = RunFolder(project / "runs" / "a")
    split: Any = read_json(run.split)
    chosen = choose_replay(split["splits"]["train"]["rows"], share=0.1, seed=42)
    assert chosen is not None
    row = chosen.rows[2]
    question = row.messages[0].content
    sanity = project / "task" / "sanity.jsonl"
    for place, path in enumerate((project / "task" / "golden.jsonl", sanity)):
        asked = ask_also(path, question)
        with pytest.raises(DataContractError, match=rf"replay\.jsonl:{row.line} .*{path.name}:{asked}") as caught:
            check_sanity(run, batch_size=64, **ASK) if place else evaluate_run(run, WISHES, Asking(64), **ASK)
        assert question not in str(caught.value)


def test_general_rows_of_another_version_are_all_held_to_be_trained_on(project: Path) -> None:
    run = RunFolder(project / "runs" / "a")
    split: Any = read_json(run.split)
    question = next(  # it was not chosen
        each
        for share in (0.5, 0.9)
        for row in getattr(choose_replay(108, share=share, seed=7), "rows", [])
        if (each := row.messages[0].content)
        and row.id not in {known.id for known in getattr(choose_replay(108, share=0.1, seed=42), "rows", [])}
    )
    ask_also(project / "task" / "sanity.jsonl", question)
    assert check_sanity(run, batch_size=64, **ASK).record["compared_rows"] == 108 + 12 + split["replay"]["rows"]
    run.sanity.unlink()
    try:
        write_json(run.split, {**split, "replay": {**split["replay"], "sha256": "0" * 64}})
        with pytest.raises(DataContractError, match=r"replay\.jsonl"):
            check_sanity(run, batch_size=64, **ASK)
    finally:
        write_json(run.split, split)


def test_garbage_reaches_nothing_and_no_figure_is_nan(project: Path) -> None:
    run = RunFolder(project / "runs" / "a")
    evaluate_run(run, WISHES, Asking(64), **ASK)
    for arm, reason in (("base", "length"), ("adapter", "stop")):
        path = run.evaluation / f"{arm}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == GOLDEN > len(GARBAGE)
        garbled = [{**line, "text": GARBAGE[place % len(GARBAGE)], "finish_reason": reason} for place, line in enumerate(lines)]
        path.write_text("".join(json.dumps(line) + "\n" for line in garbled))
    told = evaluate_run(run, WISHES, Asking(64), **ASK)
    assert not told.passed
    result = json.loads(told.path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in result.json"))
    assert result == told.result
    reached = {arm: {name: figure["value"] for name, figure in found["metrics"].items()} for arm, found in result["arms"].items()}
    assert len(reached["base"]) >= 6
    assert set(reached["base"].values()) == {0}
    assert {name for name, value in reached["adapter"].items() if value} == {"ended"}  # a word about its end, not about itself
    assert result["verdict"]["word"] != "better"
    assert all(math.isfinite(value) for value in numbers(result))
    scores = [json.loads(line)["arms"]["adapter"] for line in (run.evaluation / "scores.jsonl").read_text().splitlines()]
    assert [sum(row.values()) for row in scores] == [1] * GOLDEN


def numbers(value: Any) -> Iterator[float]:
    """Every number of a JSON value."""
    parts: list[Any] = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for part in parts:
        yield from numbers(part)
    if parts:
        return
    if isinstance(value, int | float):
        yield value


def test_a_run_whose_issues_were_approved_is_evaluated(tmp_path: Path, tiny_base: Path) -> None:
    """Its training file breaks the contract but for the approvals, which may have ended since."""
    folder = make_project(tmp_path, tiny_base, settings="[train]\nmax_steps = 1\n[data]\napprovals = 'approvals.toml'\n", golden=8)
    path = folder / "data" / "train.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[4])
    row["messages"][0]["content"] += " call " + "19" + "00 1234"
    path.write_text("\n".join([*lines[:4], json.dumps(row), *lines[5:]]) + "\n")
    checked = loren("check", "data/train.jsonl", "--task", "task", "--format", "json", cwd=folder)
    (issue,) = (issue for issue in json.loads(checked.stdout)["issues"] if issue["severity"] == "error")
    approval = "".join(f'{key} = "{issue[key]}"\n' for key in ("row", "path", "rule"))
    text = f'[[approval]]\n{approval}who = "Lan"\nwhy = "our own hotline"\nuntil = '
    (folder / "approvals.toml").write_text(f"{text}2999-01-01\n")
    run = train_here(folder).run
    (folder / "approvals.toml").write_text(f"{text}2020-01-01\n")
    assert evaluate_run(run, WISHES, Asking(64), **ASK).result["training_data"] == "known"
