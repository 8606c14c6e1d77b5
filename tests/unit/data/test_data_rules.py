"""Every rule's examples: the breaking one breaks that rule and no other, the passing one none."""

from __future__ import annotations

import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.rules import MAX_BREACHES, Breach, Breaches, Rule, all_rules, expand_example, find_rule
from loren.data.split import golden_leaks
from loren.task.definition import Task, load_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The task of the examples, as rule_tables/examples.toml has it."""
    table = tomllib.loads(files("loren.data").joinpath("rule_tables", "examples.toml").read_text(encoding="utf-8"))["task"]
    folder = tmp_path_factory.mktemp("task")
    lines = ['name = "examples"', 'language = "en"', 'version = "1"', f"labels = {table['labels']}", f"reply = '{table['reply']}'"]
    folder.joinpath("task.toml").write_text("\n".join(lines), encoding="utf-8")
    folder.joinpath("schema.json").write_text(table["schema"], encoding="utf-8")
    return load_task(folder)


def broken_rules(rule: Rule, example: str, task: Task, folder: Path) -> set[str]:
    """Ids of the rules that an example breaks."""
    file = folder / "rows.jsonl"
    body = expand_example(example)
    if rule.scope == "golden":
        *train, golden = body.splitlines(keepends=True)
        file.write_bytes(b"".join(train))
        folder.joinpath("golden.jsonl").write_bytes(golden)
        rows = [load_rows(path, minimum_rows=0).rows for path in (file, folder / "golden.jsonl")]
        return {problem.rule for problem in golden_leaks(*rows)}
    file.write_bytes(body)
    with_task = task if rule.scope in {"target", "labels"} else None
    report = check_file(file, with_task, minimum_rows=10 if rule.scope in {"file", "labels"} else 0)
    return {issue.rule for issue in report.issues}


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: f"{rule.id}-{rule.name}")
def test_examples_do_what_they_say(rule: Rule, task: Task, tmp_path: Path) -> None:
    assert broken_rules(rule, rule.breaks, task, tmp_path) == {rule.id}
    assert broken_rules(rule, rule.passes, task, tmp_path) == set()


def test_ids_and_names_are_unique_and_in_order() -> None:
    rules = list(all_rules().values())
    ids = [rule.id for rule in rules]
    assert ids == sorted(ids)
    assert max(Counter(rule.name for rule in rules).values()) == 1
    for rule in rules:
        assert len(rule.id) == 4
        assert len(rule.explanation) > 40
        assert rule.hint


def test_ids_never_change_their_meaning() -> None:
    """An id that was shipped stays: reports are compared over years. Add lines; never change one."""
    assert {rule.id: rule.name for rule in all_rules().values()}.items() >= {
        "D001": "not-utf8", "D002": "byte-order-mark", "D003": "line-too-long", "D004": "not-json", "D005": "trailing-text",
        "D006": "not-an-object", "D007": "duplicate-key", "D008": "bad-number", "D009": "lone-surrogate", "D010": "too-deep",
        "D101": "messages-missing", "D102": "messages-not-list", "D103": "messages-empty", "D104": "message-not-object",
        "D105": "role-missing", "D106": "role-unknown", "D107": "content-missing", "D108": "content-not-text",
        "D109": "content-blank", "D110": "no-user", "D111": "no-assistant", "D112": "system-not-first",
        "D113": "roles-alternate", "D114": "last-not-assistant", "D115": "user-not-first", "D116": "weight-invalid",
        "D117": "nothing-to-learn", "D118": "group-id", "D119": "unknown-row-key", "D120": "unknown-message-key",
        "D201": "target-not-json", "D202": "target-fenced", "D203": "target-schema", "D301": "pii-email", "D302": "pii-phone",
        "D303": "pii-id-number", "D304": "pii-id-shape", "D305": "pii-card", "D306": "pii-bank-account", "D307": "pii-tax-code",
        "D308": "pii-iban", "D309": "pii-passport", "D310": "pii-plate", "D311": "pii-spelled-number", "D312": "pii-name",
        "D313": "pii-address",
        "D501": "golden-question", "D502": "golden-situation", "D901": "too-few-rows", "D902": "label-too-rare",
    }.items()  # fmt: skip


def test_a_rule_is_found_by_id_or_name() -> None:
    assert find_rule("d101") is find_rule("messages-missing") is not None
    assert find_rule("D000") is None


def test_marks_of_examples() -> None:
    assert expand_example("<FF><a*3>") == b"\xffaaa\n"
    assert expand_example("x<n><n=1..3>\ny") == b"x1\nx2\nx3\ny\n"


def test_breaches_of_a_line_are_bounded_and_counted() -> None:
    breaches = Breaches()
    breaches.extend(Breach("role-missing", f"/messages/{n}", "x") for n in range(MAX_BREACHES + 7))
    breaches.append(Breach("no-user", "/messages", "x"))
    found = list(breaches)
    assert len(breaches) == MAX_BREACHES + 8
    assert len(found) == MAX_BREACHES + 2
    assert "7 more" in found[-1].message
