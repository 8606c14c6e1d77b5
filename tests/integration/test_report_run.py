"""`loren report` of runs that were really made: trained, and trained and asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema

from loren.report.schema import schema_text
from project import loren
from report_pages import parsed

HELPDESK = Path(__file__).parents[1] / "tasks" / "helpdesk"


def test_a_run_that_was_only_trained(project: Path) -> None:
    assert loren("train", "run.toml", cwd=project).returncode == 0
    shutil.move(project / "data", project / "gone")  # the report reads the run folder alone
    done = loren("report", "runs/a", cwd=project, environment={"LC_ALL": "vi_VN.UTF-8"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "verdict  none, not evaluated"
    assert done.stdout.splitlines()[-1] == "next: loren evaluate runs/a"
    report = json.loads((project / "runs" / "a" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, json.loads(schema_text()))
    assert len(report["steps"]) == 9
    assert report["not_measured"] == [
        "verdict", "evaluation", "prompt_is_enough", "flips", "weak_slices", "overfit", "forgetting", "sanity", "speed", "safety",
    ]  # fmt: skip
    page = parsed((project / "runs" / "a" / "report.html").read_text(encoding="utf-8"))
    assert "Chưa đánh giá" in page.text
    assert str(project) not in page.text
    # A report is no part of the run that resuming would refuse.
    shutil.move(project / "gone", project / "data")
    again = loren("train", "run.toml", "--resume", cwd=project)
    assert again.returncode == 0, again.stderr


def test_a_run_that_was_asked(tmp_path: Path, tiny_base: Path) -> None:
    """The seam between rooms: every file as training, sanity check and evaluation really write it."""
    shutil.copytree(HELPDESK, tmp_path, dirs_exist_ok=True)
    golden = tmp_path / "task" / "golden.jsonl"
    golden.write_text("".join(golden.read_text(encoding="utf-8").splitlines(keepends=True)[:12]), encoding="utf-8")
    (tmp_path / "run.toml").write_text(
        f'base_model = "{tiny_base}"\ntask = "task"\noutput_dir = "runs/a"\n[train]\nmax_steps = 2\n', encoding="utf-8"
    )
    task = tmp_path / "task" / "task.toml"
    text = task.read_text(encoding="utf-8")
    task.write_text(text.replace("max_new_tokens = 96", "max_new_tokens = 4"), encoding="utf-8")
    for verb, code in ((("train", "run.toml"), 0), (("sanity", "runs/a"), 1), (("evaluate", "runs/a"), 1)):
        assert loren(*verb, cwd=tmp_path).returncode == code
    done = loren("report", "runs/a", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.pop("next") == "loren report runs/a --show-text"
    jsonschema.validate(report, json.loads(schema_text()))
    result = json.loads((tmp_path / "runs" / "a" / "eval" / "result.json").read_text(encoding="utf-8"))
    assert report["verdict"]["word"] == result["verdict"]["word"]
    assert [gate["metric"] for gate in report["verdict"]["gates"]] == ["all_labels", "schema_valid", "ended"]
    assert report["evaluation"]["arms"].keys() == result["arms"].keys() == {"base", "fewshot", "adapter"}
    assert report["not_measured"] == ["speed", "safety"]
    page = parsed((tmp_path / "runs" / "a" / "report.html").read_text(encoding="utf-8"))
    assert "12 golden rows in" in page.text
    assert "/ticket/team exactly right" in page.text
