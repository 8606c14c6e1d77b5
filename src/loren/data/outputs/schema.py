"""The JSON Schema of the JSON report, for programs that read it."""

from __future__ import annotations

from importlib.resources import files


def schema_text() -> str:
    """report.schema.json as it is shipped."""
    return files("loren.data").joinpath("outputs", "report.schema.json").read_text(encoding="utf-8")
