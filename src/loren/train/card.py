"""The model card (README.md of the artifact), generated from its metadata with valid Hub front matter."""

from __future__ import annotations

import html
import re
from importlib import resources
from typing import Any

import jinja2
import yaml

from loren.runs.files import Json


def model_card(metadata: dict[str, Json]) -> str:
    """Render the card.

    Args:
        metadata: the content of training_metadata.json.

    Returns:
        Markdown with YAML front matter as the Hub defines it (``base_model``, ``license``, ``language``, …).
    """
    values: dict[str, Any] = {"adopted": None, "unknown": [], "replay": None, **metadata}
    is_adapter = values["lora"] is not None
    base = values["base_model"]
    front: dict[str, Any] = {
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["loren", "sft", *(["lora"] if is_adapter else []), *(["qlora"] if values["method"] == "qlora" else [])],
    }
    if base["hub_id"]:
        front["base_model"] = base["hub_id"]
        front["base_model_relation"] = "adapter" if is_adapter else "finetune"
    if values["license"]:
        front["license"] = str(values["license"]).lower()
    if values["language"]:
        front["language"] = [values["language"]]
    template = resources.files("loren.train").joinpath("card.md.jinja").read_text(encoding="utf-8")
    facts: dict[str, Any] = values["dataset"] or {}
    dataset: dict[str, str] | None = facts.get("card")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(template).render(
        front_matter=yaml.safe_dump(front, sort_keys=True, allow_unicode=True),
        title=values["name"],
        kind="A LoRA adapter" if is_adapter else "A full fine-tune",
        note=values["note"],
        base=base,
        m=values,
        dataset={name: _cell(dataset[name]) for name in ("name", "owner", "license", "source")} if dataset else None,
        targets=", ".join(values["lora"]["target_modules"]) if is_adapter else "",
    )


_SHOWN_CHARACTERS = 500


def _cell(text: str) -> str:
    """A text of DATASET.toml in one cell of a Markdown table: on one line, and with nothing in it that is a mark or a tag."""
    line = " ".join(text.split())
    line = line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(line, quote=False))
