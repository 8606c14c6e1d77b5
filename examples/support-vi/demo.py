"""The demo: check, train, sanity and a preview of the evaluation, through the command line as a user would type it.

Run again, it resumes: what is done is not done twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(os.path.relpath(Path(__file__).resolve().parent))
RUN = HERE / "runs" / "support-vi"


def loren(*arguments: str) -> None:
    """Run one command, showing it.

    Raises:
        SystemExit: it failed; the demo stops with its exit code.
    """
    print(f"\n$ loren {' '.join(arguments)}", flush=True)
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "loren", *arguments], check=False)
    print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
    if done.returncode:
        print(f"\nthe demo stopped: `loren {arguments[0]}` left with exit code {done.returncode}", file=sys.stderr)
        raise SystemExit(done.returncode)


def main() -> None:
    """Run the steps in order."""
    started = time.monotonic()
    loren("models", "fetch", "qwen2.5-coder-0.5b")
    fetched = time.monotonic()
    loren("check", str(HERE / "data" / "train.jsonl"), "--task", str(HERE / "task"))
    loren("train", str(HERE / "run.toml"), "--resume")
    loren("sanity", str(RUN), "--show-text")
    loren("evaluate", str(RUN), "--limit", "40")
    now = time.monotonic()
    print(f"\nall is done, in {now - fetched:.0f} s after {fetched - started:.0f} s for the base model")
    print(f"the adapter    {RUN / 'adapter'}")
    print(f"how it came    {RUN / 'adapter' / 'training_metadata.json'}")
    print(f"ask it         .venv/bin/loren generate {RUN} --prompt 'Mình bị trừ tiền mà chưa thấy đơn'")
    print("your own task  .venv/bin/loren init my-task")


if __name__ == "__main__":
    main()
