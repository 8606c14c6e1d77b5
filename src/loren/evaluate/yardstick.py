"""The golden questions as a yardstick: read, pinned by the first evaluation of a run, and never shorter than it was pinned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loren.data.load import load_rows
from loren.data.rows import Row
from loren.errors import ConfigError
from loren.evaluate.fewshot import in_turn
from loren.models.protocol import Prompt
from loren.provenance.digests import sha256_json
from loren.runs.files import Json, read_json, write_json
from loren.runs.folder import SCHEMA_VERSION
from loren.task.definition import Task


class Yardstick(NamedTuple):
    """What is asked, and what would have to be answered for a verdict."""

    rows: list[Row]
    """The questions to ask, in the order of the file."""
    situations: dict[str, str]
    """Row id -> situation of every question that a verdict needs; one that is not among ``rows`` is missing."""
    sha256: str
    """Of the golden file."""
    rows_in_file: int

    @property
    def missing(self) -> int:
        """Pinned questions that the golden file does not hold any more."""
        return len(self.situations.keys() - {row.id for row in self.rows})

    def to_json(self) -> dict[str, Json]:
        """The yardstick in result.json."""
        return {
            "sha256": self.sha256,
            "rows": self.rows_in_file,
            "asked": len(self.rows),
            "situations": len(set(self.situations.values())),
            "ids_sha256": sha256_json(list(self.situations)),
            "missing": self.missing,
        }


def read_yardstick(task: Task) -> Yardstick:
    """The golden file of a task.

    Raises:
        ConfigError: there is no golden file, or a question stands in it twice.
    """
    if not task.golden_path.is_file():
        raise ConfigError(f"{task.golden_path}: expected golden questions, found no file")
    golden = load_rows(task.golden_path, task, minimum_rows=0)
    if not golden.rows:
        raise ConfigError(f"{task.golden_path}: expected golden questions, found no row")
    situations = {row.id: situation(row) for row in golden.rows}
    if len(situations) < len(golden.rows):
        doubles = len(golden.rows) - len(situations)
        raise ConfigError(
            f"{task.golden_path}: expected golden rows that differ, found {doubles} copies",
            hint=f"`loren check {task.golden_path.name} --task .` names them",
        )
    return Yardstick(golden.rows, situations, golden.sha256, len(golden.rows))


def sampled(yardstick: Yardstick, limit: int) -> Yardstick:
    """A fixed stratified sample, for a preview."""
    rows = sorted(in_turn(yardstick.rows, limit, key="preview"), key=lambda row: row.line)
    return yardstick._replace(rows=rows, situations={row.id: yardstick.situations[row.id] for row in rows})


def pinned(yardstick: Yardstick, path: Path, *, repin: bool) -> Yardstick:
    """Hold the golden file against the questions that the first evaluation pinned in ``path``; pin them where nobody did.

    Questions that are gone are missing, so there is no verdict; questions that are new are not asked.

    Args:
        yardstick: the golden file as it is now.
        path: golden.json of the run.
        repin: take the file as it is for the yardstick from now on.
    """
    if repin or not path.is_file():
        rows: Sequence[Json] = [{"id": row, "situation": name} for row, name in yardstick.situations.items()]
        write_json(path, {"schema_version": SCHEMA_VERSION, "sha256": yardstick.sha256, "rows": rows})
        return yardstick
    stored: Any = read_json(path)
    situations = {row["id"]: row["situation"] for row in stored["rows"]}
    return yardstick._replace(rows=[row for row in yardstick.rows if row.id in situations], situations=situations)


def situation(row: Row) -> str:
    """The matter that a row asks about; a row that names none stands for itself."""
    return row.groups.get("situation") or row.id


def question_of(row: Row) -> str:
    """All that the user wrote."""
    return "\n".join(message.content for message in row.messages[:-1] if message.role == "user")


def prompt_of(row: Row) -> Prompt:
    """The question of a row; its target stays out."""
    return Prompt(row.id, tuple((message.role, message.content) for message in row.messages[:-1]))
