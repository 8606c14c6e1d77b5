"""Fetch Debian's Vietnamese message catalogues and take ordinary sentences out of them, to look for false alarms.

Nobody who wrote a rule of the data contract wrote these sentences. They are translations under the licences of their packages
(mostly GPL) and are not part of Loren: they stay in a cache, and only this list is committed. Needs Debian or Ubuntu with apt-get.

    python scripts/vietnamese_catalogues.py [CACHE]
"""

from __future__ import annotations

import gettext
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = {
    "coreutils": "GPL-3+",
    "bash": "GPL-3+",
    "git": "GPL-2",
    "util-linux-locales": "GPL-2+",
    "dpkg": "GPL-2+",
    "aptitude-common": "GPL-2+",
    "binutils-common": "GPL-3+",
    "gettext": "GPL-3+",
    "nautilus-data": "GPL-3+",
    "libgtk-3-common": "LGPL-2+",
    "evolution-common": "LGPL-2+",
    "gnucash-common": "GPL-2+",
    "vim-runtime": "Vim",
    "iso-codes": "LGPL-2.1+",
}
"""Package -> licence of its translations, by its copyright file; the versions that were read stand in the cache's sources.json."""

SENTENCES, SOURCES = "sentences.jsonl", "sources.json"
MIN_WORDS, MAX_CHARACTERS = 4, 400

FILTERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("format directives (%s, {0}, $name)", re.compile(r"%|\{|\}|\$")),
    ("markup, metavariables and placeholders (<b>, <file>, [TÙY CHỌN])", re.compile(r"[<>\[\]|\\]")),
    ("addresses, links and paths", re.compile(r"@|://|www\.|\w/\w|^/| /|~/")),
    ("options and code (--force, `name', -x)", re.compile(r"(?:^|[\s'\"(=,])-{1,2}\w|[`^=*#+]|\w\(|\(\w?\)|_|&|~|;")),
    ("several lines, tabs and other control characters", re.compile(r"[\x00-\x1f]")),
    ("parts of a dialogue that end with a comma or inside of a bracket", re.compile(r",$|^[^(]*\)|\([^)]*$")),
    ("beginnings that a value ends (thay đổi bởi …)", re.compile(r" (?:của|bởi|là)$")),
    ("a price or a date, which are findings", re.compile(r"₫\d|\d{4}-\d\d-\d\d")),
    ("no Vietnamese letter", re.compile(r"^[^đơưăạ-ỹ]*$", re.IGNORECASE)),
)
"""What is left out, and why: text for programs and terminals, which nobody sends to support. The first that fits is counted."""


def fetch(cache: Path) -> Path:
    """Fetch and unpack what the cache lacks, and write its sentences.

    Args:
        cache: a folder; it is made.

    Returns:
        The file of sentences, one JSON object a line: ``text``, ``package``.

    Raises:
        RuntimeError: there is no apt-get.
        subprocess.CalledProcessError: a package could not be fetched.
    """
    target = cache / SENTENCES
    if target.is_file():
        return target
    if not shutil.which("apt-get"):
        raise RuntimeError("expected apt-get, which fetches the packages, found none")
    packages = cache / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(packages.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", "-q", *missing], cwd=packages, check=True, stdout=subprocess.DEVNULL)
    sources: dict[str, dict[str, object]] = {}
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    lines: list[str] = []
    for name, licence in PACKAGES.items():
        archive = next(packages.glob(f"{name}_*.deb"))
        before = len(lines)
        for text in _sentences(archive, left_out):
            if text not in seen:
                seen.add(text)
                lines.append(json.dumps({"text": text, "package": name}, ensure_ascii=False))
        version = archive.name.split("_")[1].replace("%3a", ":")
        sources[name] = {"version": version, "licence": licence, "sentences": len(lines) - before}
    cache.joinpath(SOURCES).write_text(
        json.dumps({"packages": sources, "left_out": left_out}, ensure_ascii=False, indent=2), encoding="utf-8"
    )
    partial = target.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(partial, target)
    return target


def _sentences(archive: Path, left_out: Counter[str]) -> Iterator[str]:
    unpacked = archive.with_suffix(".unpacked")
    if not unpacked.is_dir():
        subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True)
    for path in sorted(unpacked.rglob("*.mo")):
        if "vi" not in path.parts:
            continue
        with path.open("rb") as stream:
            # The module has no public way to list its messages.
            catalogue: dict[object, object] = vars(gettext.GNUTranslations(stream))["_catalog"]
        for key, text in catalogue.items():
            if key and isinstance(text, str):
                yield from _parts(text, left_out)


def _parts(text: str, left_out: Counter[str]) -> Iterator[str]:
    """The ordinary sentences of a message; GTK's underscore before a menu's letter is taken off."""
    for paragraph in re.split(r"\n{2,}", text):
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-ZĐÀ-ỸƠƯ])", re.sub(r"\s*\n\s*", " ", paragraph).strip()):
            if len(sentence.split()) < MIN_WORDS or len(sentence) > MAX_CHARACTERS:
                left_out[f"fewer than {MIN_WORDS} words or more than {MAX_CHARACTERS} characters"] += 1
                continue
            reason = next((name for name, expression in FILTERS if expression.search(sentence)), None)
            if reason:
                left_out[reason] += 1
            else:
                yield sentence


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/vietnamese-catalogues")
    print(fetch(folder))
    print(folder.joinpath(SOURCES).read_text(encoding="utf-8"))
