"""Duplicates, copies and leakage in figures: what a row costs, how many planted copies are found, how much memory it takes.

    python benchmarks/similar.py [--rows 100000] [--digests 5000000]

Each function returns a dictionary of figures, for benchmarks/contract.py too. Times are CPU seconds of one process.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

LIKENESSES = (0.7, 0.8, 0.9)
_ONSETS = ("b", "c", "d", "g", "h", "k", "l", "m", "n", "s", "t", "v", "x", "ch", "gi", "kh", "ng", "nh", "ph", "th", "tr", "đ")
_RHYMES = ("an", "ang", "at", "ăn", "ât", "âu", "ê", "êm", "iên", "oa", "oan", "o", "ong", "ô", "ơi", "u", "ưa", "ương", "uôn")


def words() -> list[str]:
    """Some two thousand syllables, each in several tones."""
    return [
        unicodedata.normalize("NFC", onset + rhyme[0] + tone + rhyme[1:])
        for onset in _ONSETS
        for rhyme in _RHYMES
        for tone in ("", "\u0300", "\u0301", "\u0323")
    ]


def pieces(text: str) -> set[str]:
    """The measure, written down once more and without the code under test: pieces of five characters."""
    return {text[place : place + 5] for place in range(len(text) - 4)}


def likeness(one: str, other: str) -> float:
    """The Jaccard index of two texts."""
    first, second = pieces(one), pieces(other)
    return len(first & second) / len(first | second)


def sentence(rng: random.Random, vocabulary: list[str]) -> str:
    """A question of some 100 characters; half of them hold an order's number."""
    spoken = [rng.choice(vocabulary) for _ in range(rng.randint(14, 26))]
    if rng.random() < 0.5:
        spoken.insert(rng.randrange(len(spoken)), f"DH{rng.randrange(10**6)}")
    return " ".join(spoken)


def copy_of(text: str, wanted: float, rng: random.Random, vocabulary: list[str]) -> str | None:
    """The text with words exchanged until its likeness is from ``wanted`` to 0.05 above."""
    spoken = text.split()
    for _ in range(len(spoken)):
        spoken[rng.randrange(len(spoken))] = rng.choice(vocabulary)
        found = likeness(text, " ".join(spoken))
        if found < wanted:
            return None
        if found < wanted + 0.05:
            return " ".join(spoken)
    return None


def write_planted(path: Path, rows: int, *, each: int = 1000, seed: int = 1) -> dict[float, dict[int, int]]:
    """A file with planted near copies at random places.

    Returns:
        Likeness -> line of the later row of a pair -> line of the earlier.
    """
    rng = random.Random(seed)
    vocabulary = words()
    texts = [sentence(rng, vocabulary) for _ in range(rows - each * len(LIKENESSES))]
    sources = iter(rng.sample(range(len(texts)), len(texts)))
    planted: list[tuple[float, int, str]] = []
    for wanted in LIKENESSES:
        while len(planted) < each * (LIKENESSES.index(wanted) + 1):
            source = next(sources)
            copy = next(filter(None, (copy_of(texts[source], wanted, rng, vocabulary) for _ in range(9))), None)
            if copy is not None:
                planted.append((wanted, source, copy))
    order = list(range(rows))
    rng.shuffle(order)
    line_of = {index: line for line, index in enumerate(order, start=1)}
    everything = texts + [copy for _, _, copy in planted]
    with path.open("w", encoding="utf-8") as file:
        for number, index in enumerate(order):
            turns = [{"role": "user", "content": everything[index]}, {"role": "assistant", "content": f"Reply {number}."}]
            file.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
    pairs: dict[float, dict[int, int]] = {wanted: {} for wanted in LIKENESSES}
    for number, (wanted, source, _) in enumerate(planted):
        one, other = sorted((line_of[source], line_of[len(texts) + number]))
        pairs[wanted][other] = one
    return pairs


def near_copies(rows: int = 100_000, *, each: int = 1000) -> dict[str, float]:
    """Recall by likeness, false alarms, CPU seconds and memory of the search in a file with planted copies."""
    from loren.data.check import check_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        planted = write_planted(path, rows, each=each)
        start = time.process_time()
        check_file(path, copies_limit=0)
        middle = time.process_time()
        report = check_file(path)
        end = time.process_time()
        found = {issue.line for issue in report.issues if issue.rule in {"D506", "D507", "D508"}}
    figures: dict[str, float] = {f"recall at {wanted}": _share(found, set(pairs)) for wanted, pairs in planted.items()}
    # Two sentences that were not planted are never so much alike by chance.
    later = {line for pairs in planted.values() for line in pairs}
    earlier = {line for pairs in planted.values() for line in pairs.values()}
    figures["rows found that were not planted"] = len(found - later - earlier)
    figures["CPU s of the whole check"] = round(end - middle, 2)
    figures["CPU s of the search"] = round((end - middle) - (middle - start), 2)
    figures["peak MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


def digests_of_a_row(rounds: int = 20_000) -> dict[str, float]:
    """Microseconds that the two digests of a row cost: a question of 70 characters and a target of 250, both Vietnamese."""
    from loren.data.similar.forms import digest, target_digest

    rng = random.Random(2)
    vocabulary = words()
    rows = [(sentence(rng, vocabulary)[:70], (sentence(rng, vocabulary) + sentence(rng, vocabulary) * 2)[:250]) for _ in range(500)]
    start = time.process_time()
    for _ in range(rounds // len(rows)):
        for question, target in rows:
            digest(question)
            target_digest(target)
    return {"digests, us a row": round((time.process_time() - start) / (rounds // len(rows) * len(rows)) * 1e6, 2)}


def exact_duplicates(rows: int = 5_000_000) -> dict[str, float]:
    """CPU seconds and memory of the survey over the digests of so many rows (a 2 GB file has five million of 400 bytes)."""
    command = [sys.executable, __file__, "--only-digests", str(rows)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(result.stdout)
    return figures


def _only_digests(rows: int) -> dict[str, float]:
    from loren.data.contract import Verdict
    from loren.data.similar.duplicates import Duplicates

    survey, verdict = Duplicates(None), Verdict()
    start = time.process_time()
    for line in range(1, rows + 1):
        verdict.digests = ((line % (rows - rows // 100)) * 0x9E3779B97F4A7C15 % 2**64, line % 2)
        survey.add(line, verdict)
    found = sum(1 for _ in survey.breaches())
    return {
        "rows": rows,
        "repeated questions found": found,
        "of": rows // 100,
        "CPU s": round(time.process_time() - start, 1),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _share(found: set[int], wanted: set[int]) -> float:
    return round(len(found & wanted) / len(wanted), 4)


def figures(rows: int, digests: int) -> Iterator[tuple[str, dict[str, float]]]:
    """All of it, as it is measured."""
    yield "digests", digests_of_a_row()
    yield f"near copies, {rows} rows", near_copies(rows)
    yield f"exact duplicates, {digests} rows", exact_duplicates(digests)


def main() -> None:
    """Print the figures as JSON, one line a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--digests", type=int, default=5_000_000)
    parser.add_argument("--only-digests", type=int)
    arguments = parser.parse_args()
    if arguments.only_digests:
        print(json.dumps(_only_digests(arguments.only_digests)))
        return
    for name, values in figures(arguments.rows, arguments.digests):
        print(json.dumps({name: values}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
