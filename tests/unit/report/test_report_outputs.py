"""report.json with its schema, JUnit, Markdown, and the command."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from junitparser import Error, Failure, JUnitXml, Skipped

from loren.cli.report import command
from loren.report.schema import schema_text
from loren.report.write import write_report
from loren.runs.files import read_json, write_json
from report_run import write_run
from report_sweep import write_sweep


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("outputs") / "run")


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def test_the_json_satisfies_its_schema(run: Path, tmp_path: Path) -> None:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    folders = [run, write_run(tmp_path / "preview", rows=20, preview=True), write_sweep(tmp_path / "a")]
    folders += [write_sweep(tmp_path / "b", kind="curve")]
    empty = write_run(tmp_path / "empty", rows=6)
    for path in [path for path in empty.rglob("*") if path.is_file() and path.name != "config.json"]:
        path.unlink()
    for folder in [*folders, empty]:
        write_report(folder, out=tmp_path / "out", language="en", show_text=True)
        found = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
        validator.validate(found)
        values = list(leaves(found))
        assert None not in values
        assert all(math.isfinite(value) for value in values if isinstance(value, float))
    for wrong in ({}, {"kind": "run"}, {**found, "more": 1}, {**found, "verdict": None}):
        assert list(validator.iter_errors(wrong))


def test_the_same_run_gives_the_same_report(run: Path, tmp_path: Path) -> None:
    written = [write_report(run, out=tmp_path / name, language="en", show_text=False).data for name in ("a", "b")]
    assert next({**data, "made_at": ""} for data in written) == {**written[1], "made_at": ""}


def test_rows_that_flip_are_those_of_the_scores(run: Path, tmp_path: Path) -> None:
    written: Any = write_report(run, out=tmp_path, language="en", show_text=False).data
    rows = [json.loads(line) for line in (run / "eval" / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(flips["before"], flips["after"]) for flips in written["flips"]] == [("base", "adapter"), ("fewshot", "adapter")]
    for flips in written["flips"]:
        seen = {flip["id"] for flip in flips["fixed"] + flips["broken"]}
        targets = ("exact:/category", "exact:/priority", "all_labels")
        differ = {row["id"] for row in rows if any(row["arms"][flips["before"]][m] != row["arms"]["adapter"][m] for m in targets)}
        assert seen == differ
        for flip in flips["broken"]:
            row = next(row for row in rows if row["id"] == flip["id"])
            assert flip["line"] == row["line"]
            assert all(row["arms"]["adapter"][m] < row["arms"][flips["before"]][m] for m in flip["broken"])
            assert flip["commands"][0].startswith(f"sed -n {row['line']}p ")
        gates = {gate["metric"]: gate for gate in written["verdict"]["gates"]}
        if flips["before"] == "base":
            broken = [flip for flip in flips["broken"] if "all_labels" in flip["broken"]]
            assert len(broken) == gates["all_labels"]["broken"]


def cases(path: Path) -> dict[str, Any]:
    return {f"{case.classname}/{case.name}": case.result for suite in JUnitXml.fromfile(str(path)) for case in suite}


def test_gates_and_criteria_are_test_cases(run: Path, tmp_path: Path) -> None:
    write_report(run, out=tmp_path, language="vi", show_text=False)
    found = cases(tmp_path / "report.junit.xml")
    gate = "loren.evaluation/all_labels: base -> adapter, superiority"
    assert found[gate] == []
    assert isinstance(found["loren.sanity/no_invented_policy"][0], Failure)
    assert isinstance(found["loren.sanity/next_step"][0], Skipped)
    assert found["loren.data/contract"] == []
    root = JUnitXml.fromfile(str(tmp_path / "report.junit.xml"))
    assert (root.tests, root.failures, root.errors, root.skipped) == (len(found), 1, 0, 1)

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    result: Any = read_json(copy / "eval" / "result.json")
    for entry in result["comparisons"]:
        entry |= {"verdict": "abstain" if entry["metric"] == "schema_valid" else "inconclusive", "passed": False}
    write_json(copy / "eval" / "result.json", result)
    write_report(copy, out=tmp_path, language="en", show_text=False)
    found = cases(tmp_path / "report.junit.xml")
    assert isinstance(found[gate][0], Failure)
    assert isinstance(found["loren.evaluation/schema_valid: base -> adapter, non-inferiority"][0], Error)


def test_what_was_not_measured_neither_passes_nor_fails(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=12, preview=True)
    (run / "sanity.json").unlink()
    write_report(run, out=tmp_path, language="en", show_text=False)
    found = cases(tmp_path / "report.junit.xml")
    assert [isinstance(result[0], Skipped) for name, result in found.items() if "contract" not in name] == [True, True]


def test_a_sweep_has_a_case_a_run(tmp_path: Path) -> None:
    write_report(write_sweep(tmp_path / "sweep"), out=tmp_path, language="en", show_text=False)
    found = cases(tmp_path / "report.junit.xml")
    assert len(found) == 10
    assert isinstance(found["loren.variant c/seed 44"][0], Error)
    assert found["loren.golden/adapter"] == []


def test_markdown_holds_the_verdict_and_what_broke(run: Path, tmp_path: Path) -> None:
    write_report(run, out=tmp_path, language="en", show_text=False)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.splitlines()[2] == "**✅ Better.** The gates are passed."
    assert "| `all_labels` | `base` → `adapter` | 18.0\u00a0% | 69.0\u00a0% | +51.0\u00a0points [+43.0 to +57.9] |" in text
    assert "| `billing-situation-5-1` | `billing-situation-5` |" in text
    assert len(text.splitlines()) <= 120


def test_the_command(run: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(command, [str(run), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "verdict  better"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html", "report.json", "report.junit.xml", "report.md",
    ]  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"next: loren report {run} --show-text"
    done = runner.invoke(command, [str(run), "--out", str(tmp_path / "out"), "--format", "json"], env={"LC_ALL": "vi_VN.UTF-8"})
    assert json.loads(done.stdout)["verdict"]["word"] == "better"
    assert 'lang="vi"' in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert runner.invoke(command, ["--print-schema"]).stdout == schema_text()
    assert runner.invoke(command, []).exit_code == 2


def test_the_next_command_asks_what_is_missing(tmp_path: Path) -> None:
    runner = CliRunner()
    preview = write_run(tmp_path / "run", rows=12, preview=True)
    done = runner.invoke(command, [str(preview)])
    assert "verdict  none, only a preview was asked" in done.stdout
    assert done.stdout.splitlines()[-1] == f"next: loren evaluate {preview}"
    done = runner.invoke(command, [str(write_sweep(tmp_path / "sweep"))])
    assert done.stdout.splitlines()[0].startswith("recommendation  Take b")
    assert done.stdout.splitlines()[-1] == f"next: loren report {tmp_path / 'sweep' / 'runs' / 'b-s42'}"
