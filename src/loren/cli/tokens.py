"""The part of `loren check` that needs a tokenizer: lengths of rows, and one row with its labels shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loren.errors import ConfigError

if TYPE_CHECKING:
    from loren.models.chat import Rendered
    from loren.runs.files import Json
    from loren.task.definition import Task


class RowTokens:
    """The rows of a clean file as the tokens that a configuration's base model would be trained on."""

    def __init__(self, file: Path, task: Task | None, config: Path, format_in: str | None = None) -> None:
        """Render every row.

        Raises:
            ChatTemplateError: rows that can't be rendered exactly.
        """
        from loren.cli.fetching import show_fetching
        from loren.config import load_config
        from loren.data.load import load_rows
        from loren.models.chat import ChatRenderer
        from loren.models.lengths import render_rows
        from loren.models.loading import load_tokenizer, locate_base
        from loren.task.definition import load_task

        self._config = load_config(config, environment=os.environ).config
        if task is None and self._config.task is not None:
            task = load_task(self._config.task)
        trust = self._config.trust_remote_code
        base = locate_base(self._config.base_model, self._config.revision, trust_remote_code=trust, fetching=show_fetching)
        self._tokenizer = load_tokenizer(base.folder, trust_remote_code=trust)
        system_prompt = task.system_prompt if task and task.system_in_training else ""
        self._rows = render_rows(
            ChatRenderer(self._tokenizer, self._config.base_model),
            load_rows(file, task, format_in=format_in or self._config.data.format).rows,
            system_prompt=system_prompt,
            file=file.name,
        )
        self._file = file

    def statistics(self) -> Mapping[str, Json]:
        """Percentiles of tokens and label tokens; where over_length is "error", a row that is too long is one.

        Raises:
            DataContractError: rows are longer than max_length.
        """
        from loren.models.lengths import enforce_max_length, token_statistics

        data = self._config.data
        _, dropped = enforce_max_length(self._rows, data.max_length, over_length=data.over_length, file=self._file.name)
        return {**token_statistics(self._rows), "max_length": data.max_length, "over_length_rows": len(dropped)}

    def show(self, line: int) -> str:
        """One row's text, its labels marked: green on a terminal, ⟦…⟧ elsewhere.

        Raises:
            ConfigError: the file has no such row.
        """
        found = next((item.rendered for item in self._rows if item.row.line == line), None)
        if found is None:
            raise ConfigError(f"--show-row: expected the line of a row in {self._file.name}, found {line}")
        return _marked(found, self._tokenizer)


def token_lines(statistics: Mapping[str, Any]) -> list[str]:
    """The statistics for people."""
    lines = [
        f"  {name:<13}" + "  ".join(f"{key} {statistics[key_of][key]:,}" for key in ("p50", "p95", "p99", "max", "sum"))
        for name, key_of in (("tokens", "tokens"), ("label tokens", "label_tokens"))
    ]
    return [*lines, f"  {statistics['over_length_rows']} row(s) over max_length = {statistics['max_length']}"]


def _marked(rendered: Rendered, tokenizer: Any) -> str:
    """Runs of labels and of other tokens, decoded run by run."""
    from itertools import groupby

    from loren.models.chat import IGNORED

    pairs = zip(rendered.input_ids, rendered.labels, strict=True)
    parts: list[str] = []
    coloured = not os.environ.get("NO_COLOR") and sys.stdout.isatty()
    for is_label, run in groupby(pairs, key=lambda pair: pair[1] != IGNORED):
        text = tokenizer.decode([token for token, _ in run])
        if is_label:
            text = click.style(text, fg="green", bold=True) if coloured else f"⟦{text}⟧"
        parts.append(text)
    return "".join(parts)
