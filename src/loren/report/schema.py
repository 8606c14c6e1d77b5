"""The JSON Schema of report.json, for programs that read it."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast

from pydantic import Field, TypeAdapter

from loren.report.page import Report
from loren.report.sweep import SweepReport


def schema_text() -> str:
    """The JSON Schema of report.json, of a run or of a sweep."""
    forms: TypeAdapter[Report | SweepReport] = TypeAdapter(Annotated[Report | SweepReport, Field(discriminator="kind")])
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of loren report",
        **_tidy(forms.json_schema(mode="serialization")),
    }
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _tidy(value: Any) -> Any:
    """Objects hold the named keys and no other, and nothing is null: what is not known is not there."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_tidy(item) for item in items if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    node: dict[str, Any] = {
        key: _tidy(item) for key, item in cast("dict[str, Any]", value).items() if key != "default" or item is not None
    }
    if "properties" in node:
        node["additionalProperties"] = False
    if len(node.get("anyOf", ())) == 1:
        (only,) = node.pop("anyOf")
        node = {**only, **node}
    return node
