"""doctor on this machine, and where packages are missing, old or broken; the stand-ins are real files on the import path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

UNINSTALL = """
import importlib.metadata, sys
def uninstall(name):
    version = importlib.metadata.version
    sys.modules[name] = None
    def known(asked):
        if asked == name: raise importlib.metadata.PackageNotFoundError(name)
        return version(asked)
    importlib.metadata.version = known
"""


def doctor(
    *arguments: str, cwd: Path, without: str = "", uninstalled: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in a process that can't import ``without``, and to which ``uninstalled`` has no metadata either."""
    code = f"{UNINSTALL}if {without!r}: sys.modules[{without!r}] = None\nfor name in {uninstalled!r}.split(): uninstall(name)\n"
    code += "from loren.cli.main import run\n"
    return subprocess.run(
        [sys.executable, "-c", f"{code}sys.exit(run(['doctor', *{list(arguments)!r}]))"],
        cwd=cwd, env={**os.environ, "NO_COLOR": "1", "LOREN_CACHE": str(cwd / "cache"), **environment},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads(done.stdout)["findings"]}


def metadata(folder: Path, name: str, version: str, *requirements: str) -> None:
    """Put a package's metadata where it is found before the real one."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requirements)]
    (place / "METADATA").write_text("\n".join(lines) + "\n")


def test_this_machine_is_described(tmp_path: Path) -> None:
    done = doctor("--format", "json", cwd=tmp_path, OMP_WAIT_POLICY="PASSIVE")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    assert json.loads(done.stdout)["next"] == "loren init my-task"
    found = findings(done)
    assert {"processor", "memory", "cache", "working folder", "device", "precision", "bf16 in silicon", "GPU driver"} <= set(found)
    assert {"python", "loren", "torch", "transformers", "trl", "peft", "pydantic", "tokenizers"} <= set(found)
    assert found["OMP_WAIT_POLICY"]["value"] == "PASSIVE"
    assert found["precision"]["value"] in {"float32", "bfloat16", "float16"}
    assert found["embedded:qwen2.5-coder-0.5b"]["value"] == "not here yet: loren models fetch qwen2.5-coder-0.5b"
    assert "hub" not in found


def test_a_needed_package_that_is_missing_exits_4_with_the_command(tmp_path: Path) -> None:
    done = doctor(cwd=tmp_path, uninstalled="trl")
    command = "pip install 'trl>=1.16'"
    assert done.returncode == 4
    assert done.stderr.splitlines() == [
        "error: 1 problem(s) on this machine stop training",
        "  trl  expected 1.16 or newer, found none",
        f"hint: {command}",
    ]
    assert done.stdout.splitlines()[-1] == f"next: {command}"


def test_every_package_that_is_missing_or_old_is_named_at_once(tmp_path: Path) -> None:
    metadata(tmp_path / "lib", "loren", "0.1.0", "not-there>=2.1", "peft>=0.21", "torch>=2.13", 'not-asked>=1; extra == "x"')
    metadata(tmp_path / "lib", "peft", "0.9.1")
    done = doctor("--format", "json", cwd=tmp_path, without="torch", PYTHONPATH=str(tmp_path / "lib"))
    assert done.returncode == 4
    found = findings(done)
    assert found["not-there"]["missing"] == "expected 2.1 or newer, found none"
    assert found["peft"]["missing"] == "expected 0.21 or newer, found 0.9.1"
    assert "not-asked" not in found
    assert (found["device"]["value"], found["device"]["missing"]) == ("unknown without torch", None)
    assert json.loads(done.stdout)["ok"] is False
    assert json.loads(done.stdout)["next"] == (
        "pip install 'not-there>=2.1' 'peft>=0.21' && pip install --force-reinstall --no-deps 'torch>=2.13'"
    )
    assert "3 problem(s)" in done.stderr


def test_a_torch_that_fails_to_load_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "lib" / "torch").mkdir(parents=True)
    (tmp_path / "lib" / "torch" / "__init__.py").write_text('raise OSError("libcudart.so.13: no such file")\n')
    done = doctor(cwd=tmp_path, PYTHONPATH=str(tmp_path / "lib"))
    assert done.returncode == 4
    assert "device  an installed package can't be imported: OSError: libcudart.so.13: no such file" in done.stderr
    assert "embedded:smollm2-135m" in done.stdout


@pytest.mark.parametrize("package", ["psutil", "msgspec", "pydantic"])
def test_it_runs_where_a_light_package_is_missing(package: str, tmp_path: Path) -> None:
    (tmp_path / "lib" / "torch").mkdir(parents=True)
    (tmp_path / "lib" / "torch" / "__init__.py").write_text("raise ImportError\n")  # not the point here, and slow
    done = doctor(cwd=tmp_path, without=package, PYTHONPATH=str(tmp_path / "lib"))
    assert done.returncode == 4
    assert f"  {package}  expected its module" in done.stderr


def test_what_is_optional_is_said_and_is_no_failure(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Some GPU, 999.1'\n")
    program.chmod(0o755)
    done = doctor(cwd=tmp_path, uninstalled="bitsandbytes", PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert "pip install 'loren[quantization]'" in done.stdout
    assert "Some GPU, 999.1" in done.stdout
    if f"{'device':<30}cpu" in done.stdout.splitlines():
        assert "missing: device: " in done.stdout


def test_every_extra_that_is_missing_is_named_with_its_command(tmp_path: Path) -> None:
    (tmp_path / "lib" / "torch").mkdir(parents=True)
    (tmp_path / "lib" / "torch" / "__init__.py").write_text("raise ImportError\n")  # not the point here, and slow
    extras = {"bitsandbytes": "quantization", "mlflow-skinny": "mlflow", "optuna": "sweep", "tensorboard": "tensorboard"}
    extras["wandb"] = "wandb"
    path = os.pathsep.join([str(tmp_path / "lib"), os.environ.get("PYTHONPATH", "")])
    done = doctor("--format", "json", cwd=tmp_path, uninstalled=" ".join(extras), PYTHONPATH=path)
    found = findings(done)
    assert {name: found[name]["mend"] for name in extras} == {
        name: f"pip install 'loren[{extra}]'" for name, extra in extras.items()
    }
    assert all(not found[name]["required"] and "found none; it is for " in found[name]["missing"] for name in extras)


@pytest.fixture
def hub() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"id": "a/b", "sha": "5" * 40, "siblings": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_hub_is_asked_only_on_demand(hub: str, tmp_path: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    done = doctor("--hub", "--format", "json", cwd=tmp_path, without="torch", HF_ENDPOINT=hub, **environment)
    assert (findings(done)["hub"]["value"], findings(done)["hub"]["missing"]) == ("answers", None)
    done = doctor("--hub", "--format", "json", cwd=tmp_path, without="torch", HF_ENDPOINT="http://127.0.0.1:9", **environment)
    silent = findings(done)["hub"]
    assert (silent["value"], silent["required"]) == ("no answer", False)
    assert "loren models list" in silent["mend"]
