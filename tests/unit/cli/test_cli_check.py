"""`loren check` as a user meets it: a process, its two streams, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cpu_time import IMPORT_TORCH, share_of
from loren.cli.check_text import line_ranges
from loren.cli.explain import system_language
from loren.data.rules import all_rules, expand_example

GOOD = '{"messages": [{"role": "user", "content": "Question %d?"}, {"role": "assistant", "content": "Yes."}]}'
CANARIES = ("canary@example.com", "0912 345 678", "Cô Lan số bảy")


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loren", "check", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        timeout=900,
    )


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    path = tmp_path / "clean.jsonl"
    path.write_text("\n".join(GOOD % n for n in range(12)), encoding="utf-8")
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    rows = [GOOD % n for n in range(12)]
    rows += [GOOD.replace("Question %d?", word) for word in CANARIES]
    rows += ["", "not json", *(GOOD.replace("Yes.", " ") % n for n in range(20))]
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_a_clean_file(clean: Path) -> None:
    done = run(clean)
    assert done.returncode == 0, done.stderr
    assert "12 row(s)" in done.stdout
    assert done.stdout.rstrip().split("\n")[-1] == f"next: DATA_PATH={clean} loren train"


def test_a_broken_file_in_words(broken: Path) -> None:
    done = run(broken)
    assert done.returncode == 3
    text = done.stdout
    assert "1 blank line(s) skipped" in text
    assert "error D004 not-json: 1 issue(s)" in text
    assert "line 17: expected one JSON object" in text
    assert "error D109 content-blank: 20 issue(s)" in text
    assert "lines 18-37 /messages/1/content: expected text, found nothing but spaces" in text
    assert "line 13 /messages/0/content" in text
    assert text.count("hint: ") == 4
    assert text.rstrip().split("\n")[-1] == "next: loren check --explain D109"
    assert "\x1b[" not in text


def test_a_broken_file_in_json(broken: Path) -> None:
    done = run(broken, "--format", "json")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert {"schema_version", "file", "sha256", "rows", "errors", "warnings", "issues", "tokens"} <= set(report)
    assert (report["errors"], report["warnings"], report["rows"]) == (23, 0, 36)
    assert len(report["issues"]) == 23
    assert {"line", "rule", "severity", "path", "message", "hint"} <= set(report["issues"][0])
    assert "23 error(s)" in done.stderr
    assert done.stderr.rstrip().split("\n")[-1] == "next: loren check --explain D109"


def test_no_word_of_the_file_is_printed(broken: Path) -> None:
    for form in ("text", "json", "sarif", "junit"):
        done = run(broken, "--format", form)
        for word in CANARIES:
            assert word not in done.stdout + done.stderr
            assert json.dumps(word)[1:-1] not in done.stdout + done.stderr


def test_a_task_adds_its_rules(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    task.joinpath("task.toml").write_text('name = "t"\nlanguage = "en"\nversion = "1"\nlabels = ["/mood"]', encoding="utf-8")
    task.joinpath("schema.json").write_text(
        '{"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}}', encoding="utf-8"
    )
    data = tmp_path / "data.jsonl"
    rows = [GOOD.replace('"Yes."', '{"mood": "%s"}' % ("good" if n < 10 else "bad")) % n for n in range(12)]
    data.write_text("\n".join(rows), encoding="utf-8")
    done = run(data, "--task", task)
    assert done.returncode == 3
    assert "12 target(s) are objects" in done.stdout
    assert 'rows by /mood: "good" 10, "bad" 2' in done.stdout
    assert 'expected at least 3 rows with "bad", found 2; 1 more are needed' in done.stdout


def test_warnings_alone_are_clean(tmp_path: Path) -> None:
    path = tmp_path / "warned.jsonl"
    path.write_text("\n".join((GOOD % n).replace("{", '{"note": 1, ', 1) for n in range(12)), encoding="utf-8")
    done = run(path)
    assert done.returncode == 0
    assert "warning D119 unknown-row-key: 12 issue(s)" in done.stdout
    assert "clean: no error, 12 warning(s)" in done.stdout


@pytest.mark.parametrize("rule", ["D302", "pii-phone"])
def test_a_rule_is_explained(rule: str) -> None:
    done = run("--explain", rule, LC_ALL="", LC_MESSAGES="", LANG="en_US.UTF-8")
    assert done.returncode == 0
    assert done.stdout.startswith("D302 pii-phone (error)")
    assert "0912 345 678" in done.stdout  # the example, not a customer's


def test_a_rule_is_explained_in_the_language_that_is_asked_for() -> None:
    done = run("--explain", "D302", "--lang", "vi", "--format", "json", LC_ALL="C")
    rule = json.loads(done.stdout)
    assert (rule["id"], rule["language"]) == ("D302", "vi")
    assert "số điện thoại" in rule["explanation"]
    done = run("--explain", "D302", LC_ALL="", LC_MESSAGES="", LANG="vi_VN.UTF-8")
    assert done.stdout.startswith("D302 pii-phone (lỗi)")
    assert "cách sửa: thay bằng" in done.stdout


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "vi_VN.UTF-8"}, "vi"),
        ({"LANG": "vi"}, "vi"),
        ({"LANG": "vi_VN", "LC_MESSAGES": "", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US", "LC_MESSAGES": "vi_VN.UTF-8"}, "vi"),
        ({"LANG": "vict"}, "en"),
    ],
    ids=str,
)
def test_the_language_of_the_terminal(environment: dict[str, str], language: str) -> None:
    assert system_language(environment) == language


def test_several_files_are_checked_one_after_the_other(clean: Path, broken: Path) -> None:
    done = run(clean, broken, clean)
    assert done.returncode == 3
    assert done.stdout.count("12 row(s)") == 2
    assert "broken: 23 error(s)" in done.stdout
    assert run(clean, clean).returncode == 0
    refused = run(clean, broken, "--format", "json")
    assert refused.returncode == 2
    assert "take one FILE" in refused.stderr


def test_the_schema_is_printed_and_croissant_needs_a_clean_dataset(clean: Path) -> None:
    schema = json.loads(run("--print-schema").stdout)
    assert schema["properties"]["schema_version"] == {"const": 1} | schema["properties"]["schema_version"]
    out = clean.with_name("croissant.json")
    done = run(clean, "--croissant", out)
    assert done.returncode == 3
    assert "error D801 dataset-card-missing: 1 issue(s)\n  file: expected DATASET.toml" in done.stdout
    assert not out.exists()


def test_a_report_of_many_rules_stays_short_and_ends_with_a_table(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    rules_of_lines = [rule for rule in all_rules().values() if rule.scope == "line" and rule.id != "D003" and rule.id < "D9"]
    examples = [expand_example(rule.breaks) for rule in rules_of_lines]
    path.write_bytes(b"".join(examples * 40))
    done = run(path)
    rules = len(examples)
    assert len(done.stdout.splitlines()) < 9 * rules + 10
    table = done.stdout.split("\n\n")[-2].splitlines()
    assert len(table) >= rules
    assert table[0].split()[1] == "error"
    assert table[-1].split()[1] == "warning"
    assert "... and 34 more" in done.stdout  # six of forty lines are named


def test_lines_in_a_few_words() -> None:
    assert line_ranges([3, 4], "row") == ("rows 3-4", 2)
    assert line_ranges([3, 4, 5, 9]) == ("lines 3-5, 9", 4)
    assert line_ranges([7]) == ("line 7", 1)
    assert line_ranges([7, 7]) == ("line 7", 2)
    assert line_ranges([0]) == ("file", 1)
    assert line_ranges(range(1, 100, 2)) == ("lines 1, 3, 5, 7, 9, 11", 6)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
def test_colour_is_for_terminals_and_no_color_is_honoured(broken: Path, environment: dict[str, str], coloured: bool) -> None:
    ours, theirs = os.openpty()
    variables = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-m", "loren", "check", str(broken)], stdout=theirs, env={**variables, "TERM": "xterm", **environment}
    ) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not chunk:
                break
            text += chunk
        os.close(ours)
        assert process.wait(60) == 3
    assert (b"\x1b[31m" in text) is coloured
    assert b"broken: 23 error(s)" in text


def test_wrong_calls_are_usage_errors(tmp_path: Path) -> None:
    unknown = run("--explain", "pii-phones")
    assert unknown.returncode == 2
    assert "did you mean pii-phone" in unknown.stderr
    assert run().returncode == 2
    missing = run(tmp_path / "none.jsonl")
    assert missing.returncode == 2
    assert "expected a file of rows" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_the_check_starts_at_once(clean: Path) -> None:
    """A third of what importing torch costs, half of it for the rules' patterns; what is heavy is never imported."""
    assert share_of([sys.executable, "-m", "loren", "check", str(clean)], IMPORT_TORCH, below=0.8) < 0.8
    heavy = "{'torch', 'pydantic', 'rich', 'phonenumbers', 'jsonschema_rs'}"
    code = f"import sys, loren.cli.check, loren.data.check; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
