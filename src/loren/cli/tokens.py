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
    from loren.data.approvals import Approvals
    from loren.data.rules import Issue
    from loren.models.chat import Rendered
    from loren.runs.files import Json
    from loren.task.definition import Task


class RowTokens:
    """The rows of a clean file as the tokens that a configuration's base model would be trained on."""

    def __init__(
        self,
        file: Path,
        task: Task | None,
        config: Path,
        *,
        approvals: Approvals | None = None,
        format_in: str | None = None,
    ) -> None:
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
        self._renderer = ChatRenderer(self._tokenizer, self._config.base_model)
        self._rows = render_rows(
            self._renderer,
            load_rows(file, task, approvals=approvals, format_in=format_in or self._config.data.format).rows,
            system_prompt=system_prompt,
            file=file.name,
        )
        self._file = file

    def statistics(self) -> Mapping[str, Json]:
        """Tokens and label tokens a row, the rows that are too long, and what the configuration's run would see."""
        from loren.data.replay import REPLAY_FILE, choose_replay
        from loren.data.split import split_rows, thin_training
        from loren.errors import LorenError
        from loren.models.lengths import render_rows, token_statistics, training_amount

        data, train = self._config.data, self._config.train
        long = sum(1 for item in self._rows if len(item.rendered.input_ids) > data.max_length)
        statistics = {**token_statistics(self._rows), "max_length": data.max_length, "over_length_rows": long}
        try:
            rows = [item.row for item in self._rows]
            whole = split_rows(rows, eval_ratio=data.eval_ratio, test_ratio=data.test_ratio, seed=self._config.split_seed)
            split = thin_training(whole, data.train_share)
            replay = choose_replay(len(split.train), share=data.replay, seed=self._config.seed)
        except LorenError:  # a file that can't be split still has tokens; `loren train` says why it can't
            return statistics
        lines = {row.line for row in split.train}
        kept = [item for item in self._rows if item.row.line in lines and len(item.rendered.input_ids) <= data.max_length]
        if not kept:
            return statistics
        if replay is not None:
            kept += render_rows(self._renderer, replay.rows, system_prompt="", file=REPLAY_FILE)
        batch = train.per_device_train_batch_size * train.gradient_accumulation_steps
        amount = training_amount(kept, effective_batch=batch, epochs=train.num_train_epochs, max_steps=train.max_steps)
        return {**statistics, "training": amount}

    def issues(self) -> list[Issue]:
        """The rows that are longer than max_length: errors, or warnings where the configuration drops them."""
        from loren.data.rules import issue
        from loren.models.lengths import length_breaches

        data = self._config.data
        return [issue(breach, line) for line, breach in length_breaches(self._rows, data.max_length, over_length=data.over_length)]

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
    lines.append(f"  {statistics['label_share']:.1%} of the tokens are labels")
    lines.append(f"  {statistics['over_length_rows']} row(s) over max_length = {statistics['max_length']}")
    if training := statistics.get("training"):
        lines.append(
            f"  a run: {training['train_rows']:,} training row(s), {training['tokens_per_epoch']:,} tokens "
            f"({training['label_tokens_per_epoch']:,} labels) and {training['steps_per_epoch']:,} step(s) an epoch, "
            f"{training['steps']:,} step(s) in all at {training['effective_batch']} rows each"
        )
    return lines


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
