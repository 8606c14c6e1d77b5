"""Prompts from a JSONL file: rows with `messages` or `prompt`. The file is hostile: bounded, strict, all problems at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from loren.data.decode import decode_line
from loren.data.reader import LineReader
from loren.errors import ConfigError, DataContractError, Problem
from loren.models.protocol import Prompt

MAX_PROMPTS = 1_000_000
_ROLES = ("system", "user", "assistant")


def load_prompts(path: Path) -> list[Prompt]:
    """Read prompts, in file order. A final assistant turn is ignored, so that a golden file can be asked.

    An id is the row's ``id`` where it has one, else its line number.

    Raises:
        ConfigError: the file can't be read.
        DataContractError: rows that are no prompts, or no row at all.
    """
    prompts: list[Prompt] = []
    problems: list[Problem] = []
    try:
        with path.open("rb") as stream:
            for line in LineReader(stream):
                place = f"{path.name}:{line.number}"
                if len(prompts) + len(problems) >= MAX_PROMPTS:
                    problems.append(Problem(place, f"expected at most {MAX_PROMPTS} prompts, found more"))
                    break
                if line.data is None:
                    problems.append(Problem(place, "expected a shorter line"))
                    continue
                decoded = decode_line(line.data)
                if decoded.value is None or decoded.breaches:
                    problems += [Problem(place, breach.message, breach.rule) for breach in decoded.breaches]
                    continue
                prompt, found = _prompt(decoded.value, line.number)
                problems += [Problem(place, message) for message in found]
                prompts += [prompt] if prompt else []
    except OSError as error:
        raise ConfigError(f"{path}: expected a prompts file, found {error.strerror or error}") from error
    problems += _double_ids(prompts, path)
    if not prompts and not problems:
        problems.append(Problem(path.name, "expected at least one prompt, found none"))
    if problems:
        raise DataContractError(
            f"{path}: {len(problems)} problem(s) in the prompts",
            problems=problems,
            hint='a row is {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}',
        )
    return prompts


def _prompt(row: dict[str, Any], number: int) -> tuple[Prompt | None, list[str]]:
    name = row.get("id", number)
    if not isinstance(name, str | int) or isinstance(name, bool):
        return None, [f"id: expected a string or an integer, found {type(name).__name__}"]
    if ("prompt" in row) == ("messages" in row):
        return None, ["expected either prompt or messages, found both" if "prompt" in row else "expected prompt or messages"]
    if "prompt" in row:
        text = row["prompt"]
        if not isinstance(text, str) or not text.strip():
            return None, ["prompt: expected text that is not blank"]
        return Prompt(str(name), (("user", text),)), []
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        return None, ["messages: expected a list that is not empty"]
    turns: list[tuple[str, str]] = []
    problems: list[str] = []
    entries = cast("list[object]", messages)
    last_is_target = isinstance(entries[-1], dict) and cast("dict[str, object]", entries[-1]).get("role") == "assistant"
    for index, entry in enumerate(entries[:-1] if last_is_target else entries):
        turn = _turn(entry)
        if turn is None:
            problems.append(f"messages[{index}]: expected role (one of {', '.join(_ROLES)}) and content that is not blank")
        else:
            turns.append(turn)
    if not problems and (not turns or turns[-1][0] != "user"):
        problems.append("messages: expected the last turn to ask to be the user's")
    return (None, problems) if problems else (Prompt(str(name), tuple(turns)), [])


def _turn(entry: object) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    message = cast("dict[str, object]", entry)
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES or not isinstance(content, str) or not content.strip():
        return None
    return str(role), content


def _double_ids(prompts: list[Prompt], path: Path) -> list[Problem]:
    seen: set[str] = set()
    doubles = {prompt.id for prompt in prompts if prompt.id in seen or seen.add(prompt.id)}
    return [Problem(path.name, f"expected ids that differ, found {len(doubles)} id(s) more than once")] if doubles else []
