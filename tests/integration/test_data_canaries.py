"""Canaries: planted personal data and secrets appear in no output, log, report, error, ledger or temporary file, in any format."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loren.data.load import load_rows
from loren.errors import DataContractError
from project import loren, make_project

# Put together here, so that no scanner of repositories finds them. Each is also sought without its signs, in part and escaped.
CANARIES = {
    "phone": "0912" + " 345 678",
    "mail": "lan.canary@" + "shop-canary.example.vn",
    "password": "Canary" + "@1995x",
    "github": "ghp" + "_" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC3",
    "aws": "AKIA" + "Q4N7Z2M5XK3T6B7Y",
    "login": "h8kQ1z" + "CanaryPw",
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiJjYW5hcnkifQ." + "c2lnbmF0dXJlY2FuYXJ5c2lnbmF0dXJl",
    "random": "c9FkqW2s7Bn4HjTz81xQ" + "pL5v",
    "name": "Nguyễn Thị Canary",
}


def sentences() -> list[str]:
    return [
        f"Tôi là {CANARIES['name']}, gọi {CANARIES['phone']}",
        f"mail {CANARIES['mail']} nhé",
        f"mật khẩu của em là {CANARIES['password']}",
        f"mã {CANARIES['github']} và {CANARIES['aws']}",
        f"postgres://app:{CANARIES['login']}@db:5432/shop",
        f"Authorization: {CANARIES['jwt']}",
        f"api_key = {CANARIES['random']}",
    ]


def write_canaries(path: Path) -> None:
    rows = []
    for number, sentence in enumerate(sentences()):
        user = {"role": "user", "content": f"{number}: {sentence}"}
        rows.append({"messages": [user, {"role": "assistant", "content": f"Dạ. {sentence}"}]})
        rows.append({
            "messages": [user, {"role": "assistant", "content": json.dumps({"reply": sentence, "password": sentence[-9:]})}]
        })
        rows.append({"messages": [user, {"role": "assistant", "content": {"reply": sentence}}]})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")


def write_faults(path: Path) -> None:
    """The same in places that can't be redacted or read: keys, double keys, broken JSON, roles."""
    rows = []
    for sentence in sentences():
        user = {"role": "user", "content": sentence}
        rows.append(json.dumps({"messages": [user, {"role": "assistant", "content": json.dumps({sentence: 1})}]}))
        rows.append(
            json.dumps({"messages": [user, {"role": sentence, "content": sentence}], sentence: sentence, "customer": [sentence]})
        )
        rows.append(json.dumps(user)[:-9])
        key = json.dumps(sentence)
        rows.append(f"{{{key}: 1, {key}: 2}}")
    path.write_text("\n".join(rows), encoding="utf-8")


def found_in(text: str) -> list[str]:
    """Names of the canaries in a text, whole, without their signs, or escaped."""
    plain = "".join(character for character in text if character.isalnum())
    return [
        name
        for name, value in CANARIES.items()
        if value in text or json.dumps(value)[1:-1] in text or "".join(filter(str.isalnum, value)) in plain
    ]


def files_under(*folders: Path) -> str:
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return "\n".join([str(path) + path.read_bytes().decode("utf-8", "replace") for path in paths])


@pytest.fixture
def room(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder for outputs, and an environment whose temporary files lie in it."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return tmp_path, {"TMPDIR": str(temporary)}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("write", [write_canaries, write_faults])
def test_check_and_redact_say_places_only(room: tuple[Path, dict[str, str]], form: str, write: object) -> None:
    folder, environment = room
    source = folder / "in" / "rows.jsonl"
    source.parent.mkdir()
    write(source)  # type: ignore[operator]
    out = folder / "out"
    runs = [
        loren("--debug", "check", source, "--format", form, cwd=folder, environment=environment),
        loren(
            "--debug", "redact", source, "--out", out / "rows.jsonl", "--ledger", out / "ledger.jsonl", "--format", form,
            cwd=folder, environment=environment,
        ),
    ]  # fmt: skip
    assert runs[0].returncode == 3
    assert runs[0].stdout.count("D4") >= 5
    for done in runs:
        assert found_in(done.stdout + done.stderr) == []
        assert "a bug in Loren" not in done.stderr
    if write is write_canaries:
        assert runs[1].returncode == 0, runs[1].stderr
        assert len((out / "ledger.jsonl").read_text(encoding="utf-8").splitlines()) > 50
        # A name is a hint at most: it is the one that redaction may leave.
        assert set(found_in(files_under(out, folder / "tmp"))) <= {"name"}
        assert found_in((out / "ledger.jsonl").read_text(encoding="utf-8")) == []
    else:
        assert runs[1].returncode == 3
        assert [path for path in folder.rglob("*") if path.is_file()] == [source]


def test_no_temporary_file_holds_one_while_a_command_runs(room: tuple[Path, dict[str, str]]) -> None:
    """A large file, so that reports spill to the disk: every file that is opened for writing is looked at when it is closed."""
    folder, _ = room
    source, kept = folder / "rows.jsonl", folder / "kept"
    kept.mkdir()
    write_canaries(source)
    source.write_bytes((source.read_bytes() + b"\n") * 12)
    code = (
        "import sys, tempfile, loren.data.report as report\n"
        "from loren.__main__ import main\n"
        f"report._HELD_BYTES = 1000\nfolder = {str(kept)!r}\n"
        # What is unnamed otherwise gets a name and stays.
        "tempfile.TemporaryFile = lambda *a, **k: tempfile.NamedTemporaryFile('w+b', dir=folder, delete=False)\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(source), "--format", "json"],
        capture_output=True, encoding="utf-8", timeout=900, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    spilled = files_under(kept)
    assert "secret-" in spilled or "D401" in spilled
    assert found_in(spilled) == []
    assert found_in(done.stdout + done.stderr) == []


def test_train_says_places_only(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path / "project", tiny_base)
    source = project / "data" / "train.jsonl"
    rows = source.read_bytes()
    write_canaries(source)
    source.write_bytes(source.read_bytes() + b"\n" + rows)
    done = loren("--debug", "train", "run.toml", cwd=project)
    assert done.returncode == 3
    assert "D404" in done.stderr
    assert found_in(done.stdout + done.stderr) == []
    kept = tmp_path / "kept"
    shutil.copytree(project, kept, ignore=shutil.ignore_patterns("train.jsonl"))
    assert found_in(files_under(kept)) == []
    with pytest.raises(DataContractError) as caught:
        load_rows(source)
    assert found_in(str(caught.value) + repr(caught.value) + repr(caught.value.problems)) == []


def test_the_search_for_canaries_finds_them() -> None:
    for name, value in CANARIES.items():
        assert name in found_in(f"x{value}y")
        assert name in found_in(json.dumps({"a": value}))
    assert found_in("0912.345.678") == ["phone"]
