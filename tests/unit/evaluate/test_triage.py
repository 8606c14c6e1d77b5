"""`loren triage` through the command line, on a run whose evaluation is written by hand: no model, no training."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loren.cli.main import run as run_command
from loren.data.rows import Message, Row
from loren.provenance.digests import sha256_file
from loren.scoring.criteria import Reply
from loren.scoring.score import metrics, score_prediction, summarize
from loren.task.definition import Task, load_task

HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk" / "task"
SAID = "Thank you for telling us. Please tell me the room so that I can check it."
CANARY = "Wintergreen Canary of room nine"
"""Stands in questions, targets, replies and a label: in no output without --show-text."""

TRAINING = [
    ("The projector in the board room shows only a blue picture", "hardware", 2),
    ("In the board room the projector has a blue picture since today", "network", 2),
    ("My badge does not open the side door of the car park", "hardware", 2),
    ("The badge reader at the car park side door ignores my badge", "hardware", 2),
    ("I cannot sign in to the payroll page with my new password", "access", 3),
    ("Signing in to the payroll page fails, my new password is refused", "access", 3),
    ("Could I have a second screen for my desk, please", "hardware", 1),
    ("Is there a spare mouse that I may borrow for a week", "hardware", 1),
    ("The shared drive of the sales team is gone", "network", 3),
    ("The printer on floor two prints every page twice", "network", 2),
    ("My chair's armrest screw came loose near the laptop stand", "hardware", 2),
    ("The keyboard of the reception desk lost its letter keys", "hardware", 3),
    ("Please show me how profiles are renamed", "access", 1),
]
GOLDEN = [  # situation, question, target, reply (a label, or a text)
    ("blue", "A blue picture is all that the board room projector shows", ("hardware", 2), ("network", 2)),
    ("blue", "Only blue on the projector in the board room, no picture", ("hardware", 2), ("network", 2)),
    ("badge", "My badge is ignored at the side door of the car park", ("access", 2), ("hardware", 2)),
    ("wifi", f"What is the name of the guest network? {CANARY}", ("network", 1), ("access", 1)),
    ("llama", "Zebra quiz vexed by xylophones jumping: wild fjord hymns", ("access", 3), ("hardware", 3)),
    ("payroll", "The payroll page refuses my new password when signing in", ("access", 3), ("hardware", 3)),
    ("broken", f"The scanner hums. {CANARY}", ("hardware", 2), f"Sure! {CANARY}"),
    ("screen", "May I get another screen on my desk", ("hardware", 1), (CANARY, 1)),
    ("fine", "The sales team's shared drive disappeared", ("network", 3), ("network", 3)),
]


class Done(NamedTuple):
    """As a finished process has it, of a command that ran in this one."""

    returncode: int
    stdout: str
    stderr: str


def loren(*arguments: str, cwd: Path) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command([*arguments])
    return Done(code, out.getvalue(), err.getvalue())


def target(label: tuple[str, int]) -> str:
    return json.dumps({"ticket": {"team": label[0], "severity": label[1]}, "reply": {"text": SAID}})


def row(question: str, answer: str, **ids: str) -> dict[str, Any]:
    return {**ids, "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write_lines(path: Path, lines: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def write_evaluation(folder: Path, rows: list[Row], replies: Mapping[str, str], task: Task) -> None:
    """What `loren evaluate` leaves, as far as triage reads it."""
    names = metrics(task)
    outcomes = {
        each.id: score_prediction(each.messages[-1].content, Reply(each.messages[0].content, replies[each.id], "stop"), task)
        for each in rows
    }
    write_lines(folder / "scores.jsonl", [
        {"id": each.id, "line": each.line, "situation": each.groups["situation"], "arms": {"adapter": outcomes[each.id]}}
        for each in rows
    ])  # fmt: skip
    write_lines(folder / "adapter.jsonl", [
        {"id": name, "text": text, "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 9, "latency_s": 0.1}
        for name, text in replies.items()
    ])  # fmt: skip
    result = {
        "schema_version": 1,
        "arms": {"adapter": {"variant": "adapter", "metrics": summarize(list(outcomes.values()), names)}},
        "task": {"name": task.name, "version": task.version, "digest": task.digest},
    }
    (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a run that was evaluated."""
    shutil.copytree(HELPDESK, tmp_path / "task")
    training = tmp_path / "data" / "train.jsonl"
    write_lines(training, [row(question, target((team, level))) for question, team, level in TRAINING])
    write_lines(tmp_path / "task" / "golden.jsonl", [row(q, target(label), situation=s) for s, q, label, _ in GOLDEN])
    run = tmp_path / "runs" / "a"
    (run / "data").mkdir(parents=True)
    values = {"task": str(tmp_path / "task"), "data": {"path": str(training), "format": None}}
    (run / "config.json").write_text(json.dumps({"schema_version": 1, "values": values}))
    members: dict[str, Any] = {part: {"members": []} for part in ("train", "validation", "test")}
    members["train"]["members"] = [{"line": line} for line in range(1, len(TRAINING) + 1)]
    (run / "data" / "split.json").write_text(json.dumps({"source_sha256": sha256_file(training), "splits": members}))
    rows = [
        Row(line, (Message("user", q), Message("assistant", target(label))), {"situation": s})
        for line, (s, q, label, _) in enumerate(GOLDEN, start=1)
    ]
    replies = {
        each.id: reply if isinstance(reply, str) else target(reply) for each, (_, _, _, reply) in zip(rows, GOLDEN, strict=True)
    }
    write_evaluation(run / "eval", rows, replies, load_task(tmp_path / "task"))
    return tmp_path


def mends(folder: Path) -> dict[str, str]:
    lines = (folder / "runs" / "a" / "eval" / "triage.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["situation"]: entry["mend"] for entry in map(json.loads, lines)}


def everything(folder: Path, done: Any) -> str:
    written = [path.read_text(encoding="utf-8") for path in (folder / "runs" / "a" / "eval").glob("triage.*")]
    assert len(written) == 2
    return "\n".join([done.stdout, done.stderr, *written, (folder / "runs" / "a" / "stages.json").read_text()])


def test_each_failure_gets_its_mend_and_no_text_is_told(project: Path) -> None:
    done = loren("triage", "runs/a", cwd=project)
    assert done.returncode == 0, done.stderr
    assert mends(project) == {
        "blue": "conflict", "badge": "golden", "wifi": "no-label", "llama": "gap", "payroll": "more", "broken": "format",
        "screen": "format",
    }  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0] == "8 of 9 golden questions fail in exact:/ticket/team, exact:/ticket/severity, all_labels (adapter)"
    assert lines[1].split(maxsplit=2) == ["1", "2", "decide the label: hardware / 2"]
    assert lines[-1].startswith(f"next: loren check {project / 'data' / 'train.jsonl'} --task {project / 'task'} --against ")
    page = (project / "runs" / "a" / "eval" / "triage.md").read_text(encoding="utf-8")
    assert "## 1. Decide the label: hardware / 2" in page
    assert "- Training lines that are like them: 1 (hardware / 2; like 2), 2 (network / 2; like 2)" in page
    said = everything(project, done)
    for text in (CANARY, "Wintergreen", "projector", "Sure!", SAID[:20], "payroll page"):
        assert text not in said
    assert "(another value)" in said
    stages = json.loads((project / "runs" / "a" / "stages.json").read_text())["stages"]
    assert set(stages["triage"]["inputs"]) == {"scores"}


def test_the_lines_say_what_the_page_says(project: Path) -> None:
    loren("triage", "runs/a", cwd=project)
    lines = [json.loads(line) for line in (project / "runs" / "a" / "eval" / "triage.jsonl").read_text().splitlines()]
    blue = next(line for line in lines if line["line"] == 1)
    assert set(blue) == {
        "schema_version", "group", "mend", "id", "line", "situation", "slices", "fault", "failed", "expected", "answered",
        "nearest",
    }  # fmt: skip
    assert (blue["group"], blue["fault"], blue["expected"], blue["answered"]) == (1, "label", ["hardware", "2"], ["network", "2"])
    assert {near["agrees_with"] for near in blue["nearest"][:2]} == {"target", "prediction"}
    assert [near["similarity"] for near in blue["nearest"]] == sorted((n["similarity"] for n in blue["nearest"]), reverse=True)
    assert blue["slices"]["label"] == "hardware / 2"
    broken = next(line for line in lines if line["situation"] == "broken")
    assert "answered" not in broken


def test_with_show_text_texts_are_quoted_and_nothing_in_them_is_markup(project: Path) -> None:
    path = project / "runs" / "a" / "eval" / "adapter.jsonl"
    replies = [json.loads(line) for line in path.read_text().splitlines()]
    replies[6]["text"] = "````\n# <script>alert(1)</script>"
    write_lines(path, replies)
    done = loren("triage", "runs/a", "--show-text", cwd=project)
    assert done.returncode == 0, done.stderr
    page = (project / "runs" / "a" / "eval" / "triage.md").read_text(encoding="utf-8")
    assert "`````text\n````\n# <script>alert(1)</script>\n`````" in page
    assert "Only blue on the projector" in page
    assert CANARY in (project / "runs" / "a" / "eval" / "triage.jsonl").read_text(encoding="utf-8")
    assert CANARY not in done.stdout + done.stderr
    loren("triage", "runs/a", cwd=project)
    assert "projector" not in (project / "runs" / "a" / "eval" / "triage.md").read_text(encoding="utf-8")


def test_other_metrics_other_arms_and_json(project: Path) -> None:
    done = loren("triage", "runs/a", "--metric", "schema_valid", "--format", "json", cwd=project)
    data = json.loads(done.stdout)
    assert (data["failures"], data["asked"], data["training_data"], data["training_rows"]) == (2, 9, "known", 13)
    assert {group["mend"] for group in data["groups"]} == {"format"}
    assert data["next"].startswith("loren check")
    done = loren("triage", "runs/a", "--metric", "f1:/reply/text", cwd=project)
    assert "1 of 9 golden questions fail in f1:/reply/text" in done.stdout
    done = loren("triage", "runs/a", "--metric", "ended", cwd=project)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "0 of 9 golden questions fail in ended (adapter)")
    assert done.stdout.splitlines()[-1] == 'next: loren generate runs/a --prompt "..."'
    for arguments, wanted in (
        (("--arm", "merged"), "--arm: expected one of adapter; got 'merged'"),
        (("--metric", "nope"), "got 'nope'"),
        (("--preview",), "expected a preview"),
    ):
        done = loren("triage", "runs/a", *arguments, cwd=project)
        assert done.returncode in {2, 4}
        assert wanted in done.stderr


def test_an_adopted_run_without_data_still_lists_its_failures(project: Path) -> None:
    config = project / "runs" / "a" / "config.json"
    value = json.loads(config.read_text())
    value["values"]["data"]["path"] = None
    config.write_text(json.dumps(value))
    done = loren("triage", "runs/a", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "the training data is not known" in done.stderr
    assert set(mends(project).values()) == {"unknown", "format"}
    assert done.stdout.splitlines()[-1] == 'next: loren generate runs/a --prompt "..."'


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "runs" / "a" / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return apply


def first_line(text: str) -> Callable[[str], str]:
    return lambda old: "\n".join([text, *old.splitlines()[1:]]) + "\n"


@pytest.mark.parametrize(
    ("damage", "code", "wanted"),
    [
        (edit("eval/scores.jsonl", first_line(f'{{"id": "{CANARY}"')), 5, "scores.jsonl:1: expected the scores of a row"),
        (edit("eval/scores.jsonl", first_line("[" * 100_000)), 5, "scores.jsonl:1: expected the scores"),
        (edit("eval/scores.jsonl", first_line('{"id": 3, "situation": "s", "line": 1, "arms": {}}')), 5, "scores.jsonl:1"),
        (edit("eval/scores.jsonl", lambda old: old.replace(": 1.0", ": NaN")), 5, "scores.jsonl:1"),
        (edit("eval/scores.jsonl", lambda old: old.replace(": 1.0", ': "x"')), 5, "scores.jsonl:1"),
        (edit("eval/scores.jsonl", lambda old: old + old.splitlines()[0]), 5, "found one again"),
        (edit("eval/scores.jsonl", lambda old: old.replace('"all_labels"', '"other"')), 5, "all figures of each scored row"),
        (edit("eval/scores.jsonl", lambda old: ""), 5, "found none"),
        (edit("eval/adapter.jsonl", lambda old: old.split("\n", 1)[1]), 5, "expected a reply"),
        (edit("eval/adapter.jsonl", lambda old: old.replace(json.dumps(f"Sure! {CANARY}"), "7")), 5, "expected a prediction"),
        (edit("eval/result.json", lambda old: '{"arms": 7}'), 5, "expected the result of an evaluation"),
        (edit("eval/result.json", lambda old: "{"), 5, "expected a JSON object"),
        (edit("../../task/task.toml", lambda old: old.replace('"1.0.0"', '"1.0.1"')), 5, "the task as it is now"),
        (edit("../../task/golden.jsonl", lambda old: old.split("\n", 1)[1]), 5, "found 1 that it does not hold"),
        (edit("../../data/train.jsonl", lambda old: old.replace("payroll", "salary")), 5, "another sha256"),
        (lambda folder: (folder / "data" / "train.jsonl").unlink(), 4, "training file"),
        (lambda folder: (folder / "runs" / "a" / "eval" / "adapter.jsonl").unlink(), 5, "adapter.jsonl"),
        (lambda folder: (folder / "runs" / "a" / "eval" / "scores.jsonl").unlink(), 5, "found no file"),
        (lambda folder: shutil.rmtree(folder / "runs" / "a" / "eval"), 4, "expected an evaluation, found none"),
        (lambda folder: (folder / "runs" / "a" / "config.json").unlink(), 2, "expected a run folder"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_its_place(
    project: Path, damage: Callable[[Path], object], code: int, wanted: str
) -> None:
    damage(project)
    done = loren("triage", "runs/a", cwd=project)
    assert (done.returncode, wanted in done.stderr) == (code, True), done.stderr
    assert CANARY not in done.stderr
    assert "hint: " in done.stderr or code == 5
    assert not list((project / "runs").rglob("triage.*"))


def test_names_that_are_markup_stay_names(project: Path) -> None:
    golden = project / "task" / "golden.jsonl"
    rows = [json.loads(line) for line in golden.read_text().splitlines()]
    rows[4]["situation"] = "a|b\n# <img src=x>"
    write_lines(golden, rows)
    done = loren("triage", "runs/a", cwd=project)
    assert done.returncode == 0, done.stderr
    page = (project / "runs" / "a" / "eval" / "triage.md").read_text(encoding="utf-8")
    assert r"a\|b \# \<img src=x\>" in page
    assert "<img" not in page.replace(r"\<img", "")


def test_no_model_is_loaded(project: Path) -> None:
    code = "import sys; from loren.cli.main import run; run(['triage', 'runs/a']); print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=900, check=True)
    assert done.stderr.strip() == "False"
