"""The forms of a report: each is what its readers expect, holds every issue, and nothing of a row."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import jsonschema_rs
import pytest
from junitparser import Failure, JUnitXml

from loren.data.approvals import load_approvals
from loren.data.check import check_file
from loren.data.load import read_golden
from loren.data.outputs.junit import write_junit
from loren.data.outputs.sarif import file_uri, write_sarif
from loren.data.outputs.schema import schema_text
from loren.data.report import CheckReport
from loren.data.rules import Issue, all_rules
from loren.task.definition import load_task

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GOOD = '{"messages": [{"role": "user", "content": "Question %d?"}, {"role": "assistant", "content": "Yes."}]}'
CANARIES = ("canary@example.com", "0912 345 678", "Cô Lan số bảy")
WRITERS: dict[str, Callable[[CheckReport, TextIO], None]] = {
    "json": CheckReport.write_json,
    "sarif": write_sarif,
    "junit": write_junit,
}


def written(report: CheckReport, form: str) -> str:
    out = io.StringIO()
    WRITERS[form](report, out)
    return out.getvalue()


@pytest.fixture
def clean(tmp_path: Path) -> CheckReport:
    path = tmp_path / "clean.jsonl"
    path.write_text("\n".join(GOOD % n for n in range(12)), encoding="utf-8")
    return check_file(path)


@pytest.fixture
def broken(tmp_path: Path) -> CheckReport:
    """Errors and warnings at lines, and one of the file as a whole."""
    rows = [GOOD.replace("Question %d?", f"Call me: {word}") for word in CANARIES]
    rows += ["not json", (GOOD % 1).replace("Yes.", " "), (GOOD % 2).replace("{", f'{{"note": "{CANARIES[2]}", ', 1)]
    path = tmp_path / "broken & <odd> \x01.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    return check_file(path)


@pytest.fixture
def everything(tmp_path: Path) -> CheckReport:
    """A report in which every key has a value."""
    example = ROOT / "examples" / "support-vi"
    folder = tmp_path / "task"
    folder.mkdir()
    for name in ("task.toml", "schema.json"):
        folder.joinpath(name).write_bytes((example / "task" / name).read_bytes())
    with folder.joinpath("task.toml").open("a", encoding="utf-8") as file:
        file.write('\n[contract]\nraise = ["D119"]\n')
    report = check_file(example / "data" / "train.jsonl", load_task(folder), release=True)
    report.tokens = {"tokens": {"p50": 106}}
    report.issues.append(Issue(3, "D301", "error", "/messages/0/content", "expected x, found y", "mend it", (3, 9)))
    return report


def test_the_reports_are_what_the_schema_says(clean: CheckReport, broken: CheckReport, everything: CheckReport) -> None:
    validator = jsonschema_rs.validator_for(json.loads(schema_text()))
    for report, errors in ((clean, 0), (broken, 5), (everything, 1)):
        value = json.loads(written(report, "json"))
        assert [error.message for error in validator.iter_errors(value)] == []
        assert value == json.loads(json.dumps(report.to_json()))
        assert (value["errors"], len(value["issues"])) == (errors, len(report.issues))
    value = everything.to_json()
    assert value["raised"] == ["D119"]
    assert value["dataset"]["privacy_review"]["date"] == "2026-11-24"
    assert value["issues"][0]["span"] == [3, 9]


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"sha256": "x"},
        {"secret": 1},
        {"errors": -1},
        {"issues": [{"line": 1}]},
        {"labels": {"/a": {"x": "many"}}},
        {"raised": ["unknown-row-key"]},
    ],
    ids=str,
)
def test_the_schema_refuses_what_no_report_is(change: dict[str, Any], clean: CheckReport) -> None:
    validator = jsonschema_rs.validator_for(json.loads(schema_text()))
    assert not validator.is_valid(clean.to_json() | change)
    for key in clean.to_json():
        rest = {name: value for name, value in clean.to_json().items() if name != key}
        assert not validator.is_valid(rest), key


def test_sarif_is_sarif_and_holds_every_issue_at_its_line(clean: CheckReport, broken: CheckReport, everything: CheckReport) -> None:
    validator = jsonschema_rs.validator_for(json.loads((HERE / "sarif-2.1.0-used.schema.json").read_text(encoding="utf-8")))
    for report in (clean, broken, everything):
        value = json.loads(written(report, "sarif"))
        assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)] == []
        run = value["runs"][0]
        rules = run["tool"]["driver"]["rules"]
        results = [(r["locations"][0]["physicalLocation"]["region"]["startLine"], r["ruleId"], r["level"]) for r in run["results"]]
        assert results == [(issue.line or 1, issue.rule, issue.severity) for issue in report.issues]
        assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert {issue.line for issue in broken.issues} == {0, 1, 2, 4, 5, 6}
    assert run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "/messages/0/content"
    assert run["results"][0]["properties"]["span"] == [3, 9]


def test_sarif_names_a_file_so_that_a_repository_finds_it() -> None:
    assert file_uri("data/train.jsonl") == "data/train.jsonl"
    assert file_uri("data/tập 1.jsonl") == "data/t%E1%BA%ADp%201.jsonl"
    assert file_uri("/srv/a b.jsonl") == "file:///srv/a%20b.jsonl"


def test_junit_is_read_by_a_parser_of_junit(clean: CheckReport, broken: CheckReport) -> None:
    (suite,) = JUnitXml.fromstring(written(clean, "junit").encode())
    judged = [rule for rule in all_rules().values() if rule.scope in {"line", "file"}]
    assert (suite.tests, suite.failures, len(list(suite))) == (len(judged), 0, len(judged))
    assert all(case.is_passed for case in suite)
    (suite,) = JUnitXml.fromstring(written(broken, "junit").encode())
    cases = list(suite)
    kept = [rule for rule in judged if rule.id not in broken.issues.counts]
    assert (suite.tests, suite.failures) == (len(kept) + len(broken.issues), broken.errors)
    assert len(cases) == suite.tests
    failed = [case.result[0] for case in cases if not case.is_passed]
    assert [(failure.type, failure.message) for failure in failed] == [
        (issue.rule, issue.message) for issue in broken.issues if issue.severity == "error"
    ]
    assert all(isinstance(failure, Failure) for failure in failed)
    warned = [case.system_out for case in cases if case.is_passed and case.system_out]
    assert len(warned) == broken.warnings == 1
    assert "broken & <odd> ?.jsonl" in suite.name


def test_a_rule_that_was_not_judged_is_not_said_to_be_kept(everything: CheckReport, clean: CheckReport) -> None:
    assert "D201" not in written(clean, "junit")
    assert "D801" not in written(clean, "junit")
    assert "D201" in written(everything, "junit")
    assert "D801" in written(everything, "junit")


def test_rules_of_golden_files_and_approvals_are_kept_where_they_were_judged(tmp_path: Path) -> None:
    rows, golden, approvals = tmp_path / "rows.jsonl", tmp_path / "golden.jsonl", tmp_path / "approvals.toml"
    rows.write_text("\n".join(GOOD % n for n in range(12)), encoding="utf-8")
    golden.write_text(GOOD.replace("Question %d?", "Where is the shop?"), encoding="utf-8")
    approvals.write_text("", encoding="utf-8")
    report = check_file(rows, golden=read_golden([golden]), approvals=load_approvals(approvals))
    assert report.scopes == ("line", "file", "golden", "approvals")
    assert all(rule in written(report, "junit") for rule in ("D501", "D811"))
    assert check_file(rows, approvals=load_approvals(approvals), minimum_rows=0).scopes == ("line",)


@pytest.mark.parametrize("form", WRITERS)
def test_nothing_of_a_row_is_written(form: str, broken: CheckReport) -> None:
    text = written(broken, form)
    for canary in CANARIES:
        assert canary not in text
        assert json.dumps(canary)[1:-1] not in text


@pytest.mark.parametrize("form", WRITERS)
def test_any_number_of_issues_is_written_in_constant_memory(form: str, clean: CheckReport) -> None:
    for line in range(1, 8001):
        clean.issues.append(Issue(line, "D109", "error", "/messages/1/content", "expected text, found another " * 20, "mend it"))

    class Counting(io.TextIOBase):
        size = 0

        def write(self, text: str) -> int:
            self.size += len(text)
            return len(text)

    out: Any = Counting()
    tracemalloc.start()
    try:
        WRITERS[form](clean, out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert out.size > 5_000_000
    assert peak < 500_000
