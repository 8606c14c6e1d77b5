"""A task of two labels that one word of the question decides: the smallest that the tiny model learns in seconds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

TEXT = """
window carpet ladder garden kettle mirror basket pillow candle hammer bottle ticket bridge castle forest harbour island jacket
lantern market needle orchard pencil quarry ribbon saddle tunnel valley wagon yard anchor barrel copper dagger engine feather
gravel helmet insect jungle kitchen lemon meadow nickel oyster parcel quiver rocket sponge turnip urchin velvet walnut zipper
"""
WORDS: list[str] = [*TEXT.split()]
KEYWORDS = {"fix": "blue", "pay": "red"}
"""The word that decides -> the label."""
SCHEMA = {
    "type": "object",
    "properties": {"team": {"enum": sorted(KEYWORDS.values())}},
    "required": ["team"],
    "additionalProperties": False,
}


def questions(count: int, *, seed: int) -> list[tuple[str, str]]:
    """(question, label), as many of each label, no two alike."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        keyword = list(KEYWORDS)[len(found) % len(KEYWORDS)]
        words = rng.sample(WORDS, 6)
        words.insert(rng.randrange(7), keyword)
        found.setdefault(" ".join(words), KEYWORDS[keyword])
    return list(found.items())


def write_rows(path: Path, rows: Sequence[tuple[str, str]], *, name: str) -> None:
    """A row a situation."""
    lines = [
        json.dumps({
            "id": f"{name}-{number}",
            "situation": f"{name}-{number}",
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": json.dumps({"team": label})},
            ],
        })
        for number, (question, label) in enumerate(rows)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def make_project(
    folder: Path,
    base: Path,
    *,
    settings: str,
    rows: int = 120,
    golden: int = 60,
    relabel: Callable[[Sequence[tuple[str, str]]], Sequence[tuple[str, str]]] = lambda found: found,
) -> Path:
    """A project whose run is ``runs/a``.

    Args:
        folder: takes it.
        base: the base model.
        settings: the end of run.toml: [train], [lora].
        rows: of the training file.
        golden: golden questions.
        relabel: what becomes of the training file's labels.
    """
    write_rows(folder / "data" / "train.jsonl", relabel(questions(rows, seed=1)), name="t")
    write_rows(folder / "task" / "golden.jsonl", questions(golden, seed=2), name="g")
    (folder / "data" / "DATASET.toml").write_text('version = "2026.1"\n')
    (folder / "task" / "schema.json").write_text(json.dumps(SCHEMA))
    (folder / "task" / "task.toml").write_text(
        'name = "keywords"\nlanguage = "en"\nversion = "1.0.0"\nlabels = ["/team"]\nmax_new_tokens = 24\n'
    )
    (folder / "run.toml").write_text(f'base_model = "{base}"\ntask = "task"\noutput_dir = "runs/a"\n{settings}')
    return folder


def shuffled(found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The labels dealt out anew, each as often as before."""
    labels = [label for _, label in found]
    random.Random(3).shuffle(labels)
    return [(question, label) for (question, _), label in zip(found, labels, strict=True)]
