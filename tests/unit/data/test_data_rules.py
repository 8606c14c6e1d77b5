"""Every rule's examples: the breaking one breaks that rule and no other, the passing one none."""

from __future__ import annotations

import tomllib
from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import pytest

from loren.data.approvals import load_approvals
from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.rules import MAX_BREACHES, Breach, Breaches, Rule, all_rules, expand_example, find_rule, issue
from loren.data.similar.golden import golden_leaks
from loren.models.chat import ChatRenderer
from loren.models.lengths import length_breaches, render_rows
from loren.task.definition import Task, load_task
from tiny import train_tokenizer


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The task of the examples, as rule_tables/examples.toml has it."""
    table = tomllib.loads(files("loren.data").joinpath("rule_tables", "examples.toml").read_text(encoding="utf-8"))["task"]
    folder = tmp_path_factory.mktemp("task")
    lines = ['name = "examples"', 'language = "en"', 'version = "1"', f"labels = {table['labels']}", f"reply = '{table['reply']}'"]
    folder.joinpath("task.toml").write_text("\n".join(lines), encoding="utf-8")
    folder.joinpath("schema.json").write_text(table["schema"], encoding="utf-8")
    folder.joinpath("wording.toml").write_text(table["wording"], encoding="utf-8")
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
    if rule.scope == "release":
        return broken_by_card(body.decode(), folder)
    if rule.scope == "approvals":
        return broken_approvals(body, file)
    file.write_bytes(body)
    if rule.scope == "tokens":
        return over_length(file, over_length="error" if rule.severity == "error" else "drop")
    with_task = task if rule.scope in {"target", "labels"} else None
    report = check_file(file, with_task, minimum_rows=10 if rule.scope in {"file", "labels"} else 0)
    return {issue.rule for issue in report.issues}


def broken_by_card(card: str, folder: Path) -> set[str]:
    """The first line of the example says where the card lies."""
    place = folder / card.partition("\n")[0].removeprefix("# ")
    file = folder / "data" / "train.jsonl"
    for path in (place, file):
        path.parent.mkdir(exist_ok=True)
    place.write_text(card, encoding="utf-8")
    file.write_text(
        '{"messages": [{"role": "user", "content": "Open?"}, {"role": "assistant", "content": "Yes."}]}', encoding="utf-8"
    )
    return {issue.rule for issue in check_file(file, minimum_rows=0, release=True).issues}


def over_length(file: Path, *, over_length: Literal["error", "drop"]) -> set[str]:
    rendered = render_rows(renderer(), load_rows(file, minimum_rows=0).rows, system_prompt="", file=file.name)
    return {issue(breach, line).rule for line, breach in length_breaches(rendered, 64, over_length=over_length)}


@cache
def renderer() -> ChatRenderer:
    return ChatRenderer(train_tokenizer(), "tiny")


def broken_approvals(body: bytes, file: Path) -> set[str]:
    """Ids that rows followed by approvals break, but that of the approved rule, which is an error again."""
    row, _, tables = body.partition(b"[[approval]]")
    file.write_bytes(row)
    digest = next((issue.row for issue in check_file(file, minimum_rows=0).issues), "0" * 64)
    approvals = file.with_name("approvals.toml")
    approvals.write_bytes(b"[[approval]]" + tables.replace(b"ROW", digest.encode()))
    report = check_file(file, minimum_rows=1, approvals=load_approvals(approvals))
    return {issue.rule for issue in report.issues} - {"D302"}


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
        "D121": "tools-unsupported", "D122": "media-unsupported", "D123": "two-formats",
        "D201": "target-not-json", "D202": "target-fenced", "D203": "target-schema", "D301": "pii-email", "D302": "pii-phone",
        "D303": "pii-id-number", "D304": "pii-id-shape", "D305": "pii-card", "D306": "pii-bank-account", "D307": "pii-tax-code",
        "D308": "pii-iban", "D309": "pii-passport", "D310": "pii-plate", "D311": "pii-spelled-number", "D312": "pii-name",
        "D313": "pii-address",
        "D401": "secret-token", "D402": "secret-private-key", "D403": "secret-login", "D404": "secret-password",
        "D405": "secret-key", "D811": "approval-ended", "D812": "approval-unused",
        "D501": "golden-question", "D502": "golden-situation", "D503": "conflicting-targets", "D504": "conflicting-labels",
        "D505": "duplicate-question", "D506": "diacritics-copy", "D507": "digits-copy", "D508": "near-copy",
        "D509": "doubtful-label", "D510": "golden-diacritics", "D511": "golden-digits", "D512": "golden-near",
        "D513": "golden-customer", "D514": "golden-conversation", "D601": "same-reply", "D602": "many-refusals",
        "D603": "language-switch", "D604": "reply-language", "D605": "language-mix",
        "D606": "mojibake", "D607": "replacement-character", "D608": "legacy-encoding", "D609": "not-nfc",
        "D610": "control-character", "D611": "hidden-character", "D612": "html", "D613": "code-fence", "D614": "reply-cut",
        "D615": "reply-unended", "D616": "reply-empty", "D617": "reply-repeats-question", "D618": "placeholder",
        "D619": "machine-talk", "D620": "repeated-phrase", "D621": "task-wording", "D622": "changing-fact",
        "D623": "prompt-injection", "D624": "special-token", "D625": "label-unbalanced", "D626": "unusual-length",
        "D627": "many-turns", "D701": "over-length", "D702": "over-length-dropped",
        "D801": "dataset-card-missing", "D802": "dataset-card-unreadable", "D803": "dataset-card-incomplete",
        "D804": "dataset-card-unknown-key", "D805": "dataset-card-value", "D806": "dataset-changed",
        "D901": "too-few-rows", "D902": "label-too-rare",
        "D911": "archive-unreadable", "D912": "table-unreadable", "D913": "table-row", "D914": "format-unsupported",
        "D915": "line-ends",
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
