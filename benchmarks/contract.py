"""The figures of the data contract: rows a second, several processes, memory, duplicates, personal data.

    .venv/bin/python benchmarks/contract.py [--scale 0.01] [--only speed,processes,memory,issues,similar,personal] [--json FILE]

Speed is CPU time of one core over the rules for one row, reading included, the best of some repeats; beside it stands what
`json.loads` alone takes for the same lines at the same time, for machines differ and are seldom quiet. `--scale` makes all files
smaller. Files are written to a temporary folder and removed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chat_rows
import psutil

from loren.data.contract import Contract
from loren.data.judge import judge
from loren.data.reader import LineReader
from loren.task.definition import Task, load_task

ROOT = Path(__file__).resolve().parents[1]
TASK = ROOT / "examples" / "support-vi" / "task"
ROWS = (10_000, 100_000, 1_000_000)
PROCESS_ROWS = 500_000
MEMORY_BYTES = 2 * 1024**3
BROKEN_ROWS = 100_000
GOALS = {"mixed": 20_000, "digit-free": 30_000}


def best_cpu_seconds(work: Callable[..., object], *arguments: object, repeats: int) -> float:
    """The least CPU time of this process that `work` took."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.process_time()
        work(*arguments)
        times.append(time.process_time() - start)
    return min(times)


def rules_alone(path: Path, task: Task | None) -> int:
    """Judge every line by all rules that look at one row; give the number of lines."""
    with path.open("rb") as stream:
        return sum(1 for _ in judge(LineReader(stream), Contract(task), with_rows=False))


def decode_alone(path: Path) -> None:
    """What reading JSON costs without any rule."""
    with path.open("rb") as stream:
        for line in stream:
            json.loads(line)


def speed(folder: Path, scale: float) -> dict[str, Any]:
    """Rows a CPU second for both kinds of rows at three sizes."""
    found: dict[str, Any] = {}
    task = load_task(TASK)
    for kind in ("mixed", "digit-free"):
        sizes: list[dict[str, Any]] = []
        for rows in (max(1_000, round(each * scale)) for each in ROWS):
            path = chat_rows.write(folder / f"{kind}.jsonl", rows, kind)
            repeats = max(1, min(7, 200_000 // rows))
            if not sizes:
                rules_alone(path, task)  # imports and caches
            bare = best_cpu_seconds(rules_alone, path, None, repeats=repeats)
            judged = best_cpu_seconds(rules_alone, path, task, repeats=repeats)
            sizes.append({
                "rows": rows,
                "bytes_a_row": round(path.stat().st_size / rows),
                "rows_a_second": round(rows / bare),
                "rows_a_second_with_task": round(rows / judged),
                "microseconds_a_row": round(bare / rows * 1e6, 2),
                "json_loads_microseconds": round(best_cpu_seconds(decode_alone, path, repeats=min(repeats, 3)) / rows * 1e6, 2),
            })  # fmt: skip
        costs = [each["microseconds_a_row"] for each in sizes]
        found[kind] = {"sizes": sizes, "largest_to_smallest": round(costs[-1] / costs[0], 2), "goal": GOALS[kind]}
    return found


def run_check(path: Path, *options: str) -> dict[str, Any]:
    """Run `loren check`: its output, seconds by the clock, CPU seconds and peak memory of all its processes."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        run = subprocess.Popen(
            [sys.executable, "-m", "loren", "check", str(path), "--format", "json", *options], stdout=out, stderr=subprocess.DEVNULL
        )
        peak = 0
        while not (ended := os.wait4(run.pid, os.WNOHANG))[0]:
            peak = max(peak, resident_bytes(run.pid))
            time.sleep(0.05)
        run.returncode = os.waitstatus_to_exitcode(ended[1])
        seconds = time.perf_counter() - start
        out.seek(0)
        output = out.read()
    return {
        "exit_code": run.returncode,
        "output": output,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(ended[2].ru_utime + ended[2].ru_stime, 2),
        "peak_megabytes": round(peak / 1024**2, 1),
    }


def resident_bytes(pid: int) -> int:
    """Memory of a process and of those that it started; what they share counts each time."""
    found = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += each.memory_info().rss
    return found


def processes(folder: Path, scale: float) -> dict[str, Any]:
    """One process against two: the same bytes, and how much sooner."""
    path = chat_rows.write(folder / "processes.jsonl", max(1_000, round(PROCESS_ROWS * scale)), "mixed")
    runs = {count: [run_check(path, "--processes", str(count)) for _ in range(2)] for count in (1, 2)}
    best = {count: min(tries, key=lambda run: run["seconds"]) for count, tries in runs.items()}
    outputs = {run["output"] for tries in runs.values() for run in tries}
    least = {count: min(run["cpu_seconds"] for run in tries) for count, tries in runs.items()}
    return {
        "bytes": path.stat().st_size,
        "identical": len(outputs) == 1,
        "seconds": {count: run["seconds"] for count, run in best.items()},
        "cpu_seconds": least,
        "times_faster": round(best[1]["seconds"] / best[2]["seconds"], 2),
        "times_faster_on_two_free_cores_at_most": round(2 * least[1] / least[2], 2),
        "goal": 1.8,
    }


def memory(folder: Path, scale: float) -> dict[str, Any]:
    """Peak memory of a check of a large file in one process, and of all processes where two judge."""
    path = folder / "large.jsonl"
    size = round(MEMORY_BYTES * scale)
    with path.open("wb") as file:
        for line in chat_rows.rows(1 << 40, "mixed"):
            if file.write(line) + file.tell() > size:
                break
    found: dict[str, Any] = {"bytes": path.stat().st_size, "goal_megabytes": 150}
    for count in (1, 2):
        run = run_check(path, "--processes", str(count))
        found[f"peak_megabytes_{count}"], found[f"seconds_{count}"] = run["peak_megabytes"], run["seconds"]
    start = folder / "start.jsonl"
    with path.open("rb") as large:
        start.write_bytes(b"".join(large.readline() for _ in range(1_000)))
    found["peak_megabytes_of_1000_rows"] = run_check(start)["peak_megabytes"]
    return found


def issues(folder: Path, scale: float) -> dict[str, Any]:
    """A file in which every line breaks some rules: what an issue costs, the JSON report included."""
    rows = max(1_000, round(BROKEN_ROWS * scale))
    path = folder / "broken.jsonl"
    with path.open("wb") as file:
        for line in chat_rows.rows(rows, "mixed"):
            file.write(line.replace(b'"user"', b'"human"').replace(b'"situation"', b'"Situation"'))
    run = run_check(path, "--processes", "1")
    count = len(json.loads(run["output"])["issues"])
    return {"rows": rows, "issues": count, "cpu_seconds": run["cpu_seconds"], "issues_a_second": round(count / run["cpu_seconds"])}


def similar(folder: Path, scale: float) -> dict[str, Any]:
    """Copies in other words, by their own benchmark."""
    script = ROOT / "benchmarks" / "similar.py"
    if not script.is_file():
        return {"skipped": "there is no benchmarks/similar.py"}
    sizes = ["--rows", str(max(1_000, round(100_000 * scale))), "--digests", str(max(1_000, round(5_000_000 * scale)))]
    done = subprocess.run([sys.executable, str(script), *sizes], capture_output=True, text=True, check=True)
    return {"lines": [line for line in done.stdout.splitlines() if line.strip()]}


def personal(folder: Path, scale: float) -> dict[str, Any]:
    """Recall and precision over the labelled lines, by the test that holds them."""
    fixtures = ROOT / "tests" / "fixtures" / "personal"
    tests = sorted((ROOT / "tests" / "unit" / "data").glob("test_data_personal*.py"))
    if not fixtures.is_dir() or not tests:
        return {"skipped": "there is no tests/fixtures/personal"}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-k", "recall or precision", *map(str, tests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return {"passed": done.returncode == 0, "lines": [line for line in done.stdout.splitlines() if line.strip()]}


PARTS: dict[str, Callable[[Path, float], dict[str, Any]]] = {
    "speed": speed, "processes": processes, "memory": memory, "issues": issues, "similar": similar, "personal": personal,
}  # fmt: skip


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = subprocess.run(["git", "-C", str(ROOT), "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if "model name" in line] if cpuinfo.exists() else []
    return {
        "commit": commit + ("-changed" if changed.strip() else ""),
        "python": platform.python_version(),
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def show(name: str, found: dict[str, Any], indent: str = "") -> None:
    """Print figures for a person, line by line."""
    print(f"{indent}{name}")
    for key, value in found.items():
        if isinstance(value, dict):
            show(str(key), value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], (dict, str)):
            for each in value:
                shown = "  ".join(f"{part} {figure}" for part, figure in each.items()) if isinstance(each, dict) else each
                print(f"{indent}  {shown}")
        else:
            print(f"{indent}  {key}: {value}")
    sys.stdout.flush()


def main() -> None:
    """Measure, print, and write JSON where it was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes: 0.01 takes a minute")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "scale": options.scale}
    show("machine", report["machine"])
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            report[name] = PARTS[name](Path(folder), options.scale)
        show(name, report[name])
    if options.json:
        options.json.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
