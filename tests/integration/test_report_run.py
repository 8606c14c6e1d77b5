"""`loren report` of runs that were really made: trained, and trained and asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema

from loren.report.schema import schema_text
from project import loren
from report_pages import parsed


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
