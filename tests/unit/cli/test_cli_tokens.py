"""`loren check --tokens`: what a configuration's run would see, and rows that are too long, by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loren.cli.check import _add_tokens  # pyright: ignore[reportPrivateUsage]
from loren.data.check import check_file
from loren.data.rows import Message, Row
from loren.models.chat import Rendered
from loren.models.lengths import RenderedRow, length_breaches, token_statistics, training_amount
from project import loren, make_project


def rendered(line: int, tokens: int, labels: int) -> RenderedRow:
    row = Row(line, (Message("user", "a"), Message("assistant", "b")))
    return RenderedRow(row, Rendered(list(range(tokens)), [-100] * (tokens - labels) + [1] * labels))


def test_statistics_and_amount() -> None:
    rows = [rendered(1, 10, 4), rendered(2, 30, 6)]
    assert token_statistics(rows)["label_share"] == 0.25
    assert token_statistics([])["label_share"] == 0.0
    amount = training_amount(rows * 5, effective_batch=4, epochs=1.5, max_steps=-1)
    assert (amount["train_rows"], amount["tokens_per_epoch"], amount["label_tokens_per_epoch"]) == (10, 200, 50)
    assert (amount["effective_batch"], amount["steps_per_epoch"], amount["steps"]) == (4, 3, 5)
    assert training_amount(rows, effective_batch=4, epochs=1.5, max_steps=7)["steps"] == 7


def test_rows_that_are_too_long_by_line() -> None:
    rows = [rendered(3, 10, 4), rendered(5, 11, 4), rendered(9, 30, 6)]
    found = list(length_breaches(rows, 10, over_length="error"))
    assert [(line, breach.rule) for line, breach in found] == [(5, "over-length"), (9, "over-length")]
    assert "at most 10 tokens, found 30" in found[1][1].message
    assert {breach.rule for _, breach in length_breaches(rows, 10, over_length="drop")} == {"over-length-dropped"}


def test_the_rules_of_tokens_are_judged_then(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base)
    data = project / "data" / "train.jsonl"
    report = check_file(data)
    assert "tokens" not in report.scopes
    _add_tokens(report, (data, None, project / "run.toml"), {}, None)
    assert report.scopes[-1] == "tokens"


@pytest.mark.parametrize(("over_length", "code", "rule"), [("error", 3, "D701"), ("drop", 0, "D702")])
def test_the_report_names_the_rows(tmp_path: Path, tiny_base: Path, over_length: str, code: int, rule: str) -> None:
    project = make_project(tmp_path, tiny_base)
    data = project / "data" / "train.jsonl"
    lines = data.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[6] = lines[6].replace('"content": "', '"content": "' + "đơn hàng này rất dài " * 40, 1)
    data.write_text("".join(lines), encoding="utf-8")
    config = project / "run.toml"
    config.write_text(
        config.read_text(encoding="utf-8") + f'[data]\nmax_length = 400\nover_length = "{over_length}"\n', encoding="utf-8"
    )
    done = loren("check", "data/train.jsonl", "--tokens", "run.toml", "--format", "json", cwd=project)
    assert done.returncode == code, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert [(issue["line"], issue["rule"]) for issue in report["issues"] if issue["rule"].startswith("D7")] == [(7, rule)]
    tokens = report["tokens"]
    assert tokens["over_length_rows"] == 1
    assert 0 < tokens["label_share"] < 1
    assert tokens["training"]["steps"] == 9
    assert tokens["training"]["steps_per_epoch"] == -(-tokens["training"]["train_rows"] // tokens["training"]["effective_batch"])
    assert tokens["training"]["label_tokens_per_epoch"] < tokens["training"]["tokens_per_epoch"] < tokens["tokens"]["sum"]
