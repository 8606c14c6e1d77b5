"""The prompt that an adapter has to beat: system prompt, schema, examples from train, and one retry where the answer is invalid."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from loren.data.rows import Row
from loren.evaluate.subjects import Lead
from loren.models.protocol import Completion, Generator, Prompt
from loren.task.definition import Task

_NOTHING = "(nothing)"
"""Stands for an empty answer in the conversation of a retry: some templates refuse an empty turn."""


def fewshot_lead(task: Task, rows: Sequence[Row], seed: int) -> Lead:
    """The turns before every question.

    Args:
        task: its system prompt, schema and ``[fewshot]``.
        rows: training rows; never golden ones.
        seed: chooses among them.
    """
    system = task.system_prompt
    if task.schema is not None:
        schema = json.dumps(task.schema, ensure_ascii=False, separators=(",", ":"))
        system = "\n\n".join(part for part in (system, f"{task.fewshot.instruction}\n{schema}") if part)
    examples = in_turn(rows, task.fewshot.examples, key=f"fewshot {seed}")
    turns = [(m.role, m.content) for row in examples for m in row.messages if m.role != "system"]
    return (*((("system", system),) if system else ()), *turns)


def in_turn(rows: Sequence[Row], count: int, *, key: str) -> list[Row]:
    """A fixed choice, one of each label in turn: the same rows whatever the order of the file.

    Within a label rows are ordered by a keyed hash of their id, so that nobody chose them.
    """
    strata: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    hashed = key.encode()[:64]
    for row in sorted(rows, key=lambda row: hashlib.blake2b(row.id.encode(), key=hashed).hexdigest()):
        strata[row.label].append(row)
    queues = [strata[label] for label in sorted(strata)]
    turns = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    return turns[:count]


class RetryGenerator:
    """Asks again, once, where an answer breaks the task's schema, and says what was wrong."""

    def __init__(self, inner: Generator, task: Task) -> None:
        self._inner = inner
        self._task = task

    def batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The inner generator's."""
        return self._inner.batches(prompts)

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        """Answer one batch, then its invalid answers once more; tokens and seconds are of both."""
        answers = self._inner.answer(prompts, max_new_tokens=max_new_tokens)
        wrong = {place: problem for place, answer in enumerate(answers) if (problem := self._problem(answer))}
        again = [self._retry(prompts[place], answers[place], problem) for place, problem in wrong.items()]
        for place, second in zip(wrong, self._inner.answer(again, max_new_tokens=max_new_tokens) if again else (), strict=True):
            first = answers[place]
            answers[place] = replace(
                second,
                prompt_tokens=first.prompt_tokens + second.prompt_tokens,
                completion_tokens=first.completion_tokens + second.completion_tokens,
                latency_s=first.latency_s + second.latency_s,
                requests=first.requests + second.requests,
            )
        return answers

    def _problem(self, answer: Completion) -> str:
        """What is wrong with an answer, in words that hold nothing of it; "" where nothing is, or nobody answered."""
        if self._task.target_schema is None or answer.finish_reason == "error":
            return ""
        parsed = self._task.parse(answer.text)
        found = parsed.problems or tuple(self._task.target_schema.problems(parsed.value))
        return f"{found[0].pointer} {found[0].message}".strip() if found else ""

    def _retry(self, prompt: Prompt, answer: Completion, problem: str) -> Prompt:
        said = answer.text if answer.text.strip() else _NOTHING
        words = self._task.fewshot.retry.replace("{problem}", problem)
        return Prompt(prompt.id, (*prompt.turns, ("assistant", said), ("user", words)))
