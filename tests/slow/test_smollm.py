"""The second task on a real small model: it learns the shape of the replies, and the base does not have it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from project import loren

pytestmark = [pytest.mark.slow, pytest.mark.network]
HELPDESK = Path(__file__).parents[1] / "tasks" / "helpdesk"


def test_smollm_learns_the_helpdesk(tmp_path: Path) -> None:
    shutil.copytree(HELPDESK, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run.toml").write_text(
        'base_model = "embedded:smollm2-135m"\ntask = "task"\noutput_dir = "runs/a"\n'
        "[train]\nnum_train_epochs = 6\nlearning_rate = 2e-3\ngradient_accumulation_steps = 4\n"
    )
    done = loren("train", "run.toml", cwd=tmp_path, environment={"HF_HUB_OFFLINE": "0"}, timeout=1500)
    assert done.returncode == 0, done.stderr
    done = loren("evaluate", "runs/a", cwd=tmp_path, timeout=900)
    # Twelve questions are too few for a verdict; the counts below are what is tested.
    assert done.returncode == 1, done.stderr
    result = json.loads((tmp_path / "runs" / "a" / "eval" / "result.json").read_text())
    base, adapter = (result["arms"][name]["metrics"]["schema_valid"]["count"] for name in ("base", "adapter"))
    assert adapter >= 10 > base
