"""Approvals: one issue of one row, by name, until a day."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from loren.data.approvals import Approvals, load_approvals
from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.report import CheckReport
from loren.errors import ConfigError, DataContractError
from project import loren

TODAY = datetime.date(2026, 6, 15)
HOTLINE = "19" + "00 1234"


def line(question: str, reply: str = "Dạ vâng.") -> str:
    return json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]})


def write(folder: Path, *questions: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(line(question) for question in questions) + "\n", encoding="utf-8")
    return path


def approve(folder: Path, report: CheckReport, *, until: str = "2026-06-15", **changes: str) -> Approvals:
    """An approval of every issue that can be approved."""
    tables = [
        {"row": issue.row, "path": issue.path, "rule": issue.rule, "who": "Lan, data owner", "why": "our own hotline", **changes}
        for issue in report.issues
        if issue.row
    ]
    unique = {tuple(table.items()) for table in tables}
    text = "".join(
        "[[approval]]\n" + "".join(f'{key} = "{value}"\n' for key, value in table) + f"until = {until}\n"
        for table in sorted(unique)
    )
    path = folder / "approvals.toml"
    path.write_text(text, encoding="utf-8")
    return load_approvals(path, today=TODAY)


def test_an_approved_issue_is_counted_apart_and_its_row_is_fit(tmp_path: Path) -> None:
    path = write(tmp_path, f"Hotline {HOTLINE} hay {HOTLINE}?", "Chào shop")
    before = check_file(path, minimum_rows=1)
    assert before.errors == 2
    approvals = approve(tmp_path, before)
    report = check_file(path, minimum_rows=1, approvals=approvals)
    assert (report.errors, report.warnings, len(report.approved)) == (0, 0, 2)
    assert report.approvals_sha256 == approvals.sha256
    value = report.to_json()
    assert value["approved"] == 2
    assert [issue["rule"] for issue in value["approved_issues"]] == ["D302", "D302"]
    assert [row.line for row in load_rows(path, minimum_rows=1, approvals=approvals).rows] == [1, 2]
    with pytest.raises(DataContractError):
        load_rows(path, minimum_rows=1)


def test_the_digest_is_that_of_the_row(tmp_path: Path) -> None:
    path = write(tmp_path, f"Hotline {HOTLINE}?")
    (issue,) = check_file(path, minimum_rows=1).issues
    approvals = approve(tmp_path, check_file(path, minimum_rows=1))
    (row,) = load_rows(path, minimum_rows=1, approvals=approvals).rows
    assert issue.row == row.id
    assert issue.to_json()["row"] == row.id


@pytest.mark.parametrize(
    "changes",
    [{"path": "/messages/1/content"}, {"rule": "D301"}, {"row": "0" * 64}],
)
def test_an_approval_holds_for_its_place_rule_and_row_only(tmp_path: Path, changes: dict[str, str]) -> None:
    path = write(tmp_path, f"Hotline {HOTLINE}?")
    approvals = approve(tmp_path, check_file(path, minimum_rows=1), **changes)
    report = check_file(path, minimum_rows=1, approvals=approvals)
    assert [issue.rule for issue in report.issues] == ["D302", "D812"]
    assert (report.errors, report.warnings) == (1, 1)


def test_a_row_that_changes_loses_its_approval(tmp_path: Path) -> None:
    approvals = approve(tmp_path, check_file(write(tmp_path, f"Hotline {HOTLINE}?"), minimum_rows=1))
    report = check_file(write(tmp_path, f"Hotline {HOTLINE}!"), minimum_rows=1, approvals=approvals)
    assert [issue.rule for issue in report.issues] == ["D302", "D812"]


def test_an_ended_approval_is_an_error_again(tmp_path: Path) -> None:
    path = write(tmp_path, "Chào shop", f"Hotline {HOTLINE}?")
    approvals = approve(tmp_path, check_file(path, minimum_rows=1), until="2026-06-14")
    report = check_file(path, minimum_rows=1, approvals=approvals)
    issues = list(report.issues)
    assert [(issue.line, issue.rule, issue.severity) for issue in issues] == [(2, "D302", "error"), (2, "D811", "error")]
    assert "ended on 2026-06-14" in issues[1].message
    with pytest.raises(DataContractError, match="D811"):
        load_rows(path, minimum_rows=1, approvals=approvals)


def test_structure_and_syntax_cannot_be_approved(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"messages": [{"role": "user", "content": f"Hotline {HOTLINE}?"}, {"role": "assistant", "content": ""}]}
    path.write_text(f"{json.dumps(row)}\n{{\n", encoding="utf-8")
    issues = list(check_file(path, minimum_rows=1).issues)
    assert [issue.rule for issue in issues] == ["D109", "D302", "D004"]
    assert [issue.row for issue in issues] == ["", "", ""]


def test_a_digest_stands_only_where_an_issue_can_be_approved(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = json.loads(line(f"Hotline {HOTLINE}?"))
    row["messages"][0]["name"] = "x"  # a warning about structure, in a row whose other issue can be approved
    path.write_text(json.dumps(row), encoding="utf-8")
    assert [(issue.rule, bool(issue.row)) for issue in check_file(path, minimum_rows=0).issues] == [("D120", False), ("D302", True)]


def test_what_was_only_counted_is_not_approved(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HOTLINE}, " * 150)
    approvals = approve(tmp_path, check_file(path, minimum_rows=1))
    report = check_file(path, minimum_rows=1, approvals=approvals)
    assert len(report.approved) == 100
    (left,) = report.issues
    assert "and 50 more" in left.message
    assert report.errors == 1


GOOD = {
    "row": '"' + "a" * 64 + '"', "path": '"/messages/0/content"', "rule": '"D302"', "who": '"Lan, owner"',
    "why": '"our own number"',
    "until": "2030-01-01",
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("row", '"abc"'), ("row", "1"), ("row", '"*"'), ("path", '"*"'), ("path", '""'), ("path", "[]"), ("rule", '"*"'), ("rule",
        '"D004"'),
        ("rule", '"D101"'), ("rule", '"D203"'), ("rule", '"D501"'), ("rule", '"D901"'), ("rule", '"D811"'), ("rule", '"pii-phone"'),
        ("who", '""'), ("who", "3"), ("why", '"  "'), ("why", f'"{HOTLINE} is ours"'), ("why", '"mật khẩu: Lan@1995"'),
        ("until", '"2030-01-01"'), ("until", "2030-01-01T00:00:00"), ("until", "0"), ("value", '"x"'), ("digest", '"x"'),
        ("who", None),
        ("until", None), ("row", None), ("0912 345 678", '"x"'),
    ],
)  # fmt: skip
def test_a_wrong_approval_is_refused_by_place(tmp_path: Path, key: str, value: str | None) -> None:
    table = {**GOOD, key: value}
    text = "[[approval]]\n" + "".join(f'"{name}" = {each}\n' for name, each in table.items() if each is not None)
    path = tmp_path / "approvals.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_approvals(path)
    assert [problem.place for problem in caught.value.problems] == [f"approval 1 {key if ' ' not in key else '*'}"]
    assert HOTLINE not in str(caught.value)
    assert "1995" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[approval]\nrow = 1", "approval = 3", "approval = [1]", "x = 1", "[[", "\x00", "[[approval]]\n[[approval]]\n"]
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "approvals.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load_approvals(path)
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_approvals(tmp_path / "none.toml")


def test_the_same_issue_twice_is_refused(tmp_path: Path) -> None:
    table = "[[approval]]\n" + "".join(f"{name} = {each}\n" for name, each in GOOD.items())
    path = tmp_path / "approvals.toml"
    path.write_text(table * 2, encoding="utf-8")
    with pytest.raises(ConfigError, match="in approval 1 too"):
        load_approvals(path)
    path.write_text(table, encoding="utf-8")
    assert len(load_approvals(path).entries) == 1


def test_the_command_line_takes_approvals(tmp_path: Path) -> None:
    path = write(tmp_path, f"Hotline {HOTLINE}?", *(f"Câu hỏi {n}?" for n in range(10)))
    done = loren("check", path, "--format", "json", cwd=tmp_path)
    assert done.returncode == 3
    (issue,) = json.loads(done.stdout)["issues"]
    file = tmp_path / "approvals.toml"
    table = {**GOOD, **{key: json.dumps(issue[key]) for key in ("row", "path", "rule")}, "until": "9999-12-31"}
    file.write_text("[[approval]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()), encoding="utf-8")
    done = loren("check", path, "--approvals", file, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "approved D302: 1 issue(s) that someone answers for" in done.stdout
    assert "clean: no error, 1 approved issue(s)" in done.stdout
    assert "--set data.approvals=" in done.stdout
    file.write_text("[[approval]]\nrow = 3\n", encoding="utf-8")
    done = loren("check", path, "--approvals", file, cwd=tmp_path)
    assert done.returncode == 2
    assert "approval 1 row" in done.stderr
