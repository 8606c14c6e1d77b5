"""The report of `loren check` for people: short however much is wrong, errors before warnings, the verdict last.

Places that differ in nothing but their line are told together (``lines 3-9, 14``). What is not shown is counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loren.data.report import CheckReport
    from loren.data.rules import Issue

MANY_RULES = 8
"""When more rules than this are broken, each is shown with fewer places, and a table at the end lists them."""
_PLACES = {"error": 5, "warning": 2}
_PLACES_OF_MANY = {"error": 3, "warning": 1}
_APPROVED_PLACES = 5
_USUAL_FORMAT = "messages, JSONL"
"""It goes without saying."""
_RANGES = 6
"""Ranges of lines that are named for one place."""


def print_report(report: CheckReport, following: str) -> None:
    """Print what was read, the issues by rule, the verdict and the next command."""
    _say(f"{report.file}: {report.rows} row(s), sha256 {report.sha256[:12]}", bold=True)
    for line in _facts(report):
        _say(f"  {line}")
    entries = report.by_rule()
    many = len(entries) > MANY_RULES
    for entry in entries:
        _say("")
        _print_rule(report, entry, (_PLACES_OF_MANY if many else _PLACES)[entry["severity"]])
    if many:
        _say("")
        for entry in sorted(entries, key=lambda entry: (entry["severity"], -entry["issues"])):
            _say(f"  {entry['issues']:>9,}  {entry['severity']:<7}  {entry['rule']} {entry['name']}")
    for id_, held in report.approved.first.items():
        _say("")
        _say(f"approved {id_}: {report.approved.counts[id_]} issue(s) that someone answers for")
        for issue in held[:_APPROVED_PLACES]:
            _say(f"  {line_ranges([issue.line], _unit(report))[0]} {issue.path}: {issue.message}")
    _say("")
    _say(verdict(report), color="red" if report.errors else "green")
    _say(f"next: {following}")


def verdict(report: CheckReport) -> str:
    """One line: clean or broken, and how many issues there are."""
    if report.errors:
        return f"broken: {report.errors} error(s), {report.warnings} warning(s)"
    rest = [f"{report.warnings} warning(s)"] if report.warnings else []
    rest += [f"{len(report.approved)} approved issue(s)"] if len(report.approved) else []
    return f"clean: no error, {', '.join(rest)}" if rest else "clean"


def _facts(report: CheckReport) -> Iterator[str]:
    if report.read_as is not None and report.read_as.title != _USUAL_FORMAT:
        yield f"read as {report.read_as.title}"
    if report.blank_lines:
        yield f"{report.blank_lines} blank line(s) skipped"
    if report.object_targets:
        yield f"{report.object_targets} target(s) are objects: taken as their canonical JSON text"
    if reason := report.duplicates.get("not_compared"):
        yield f"copies in other words were not looked for: {reason}"
    for pointer, values in report.labels.items():
        counts = ", ".join(f"{value} {count}" for value, count in _shown_labels(values))
        yield f"rows by {pointer}: {counts or 'none could be read'}"
    if report.dataset is not None:
        card = report.dataset
        yield f"dataset {card['name']} {card['version']}, {card['license']}, owned by {card['owner']}"
    if report.tokens is not None:
        from loren.cli.tokens import token_lines

        for line in token_lines(report.tokens):
            yield line.strip()


def _print_rule(report: CheckReport, entry: Mapping[str, Any], places: int) -> None:
    """One rule: its places, how many are not shown, how to mend them."""
    rule, severity = entry["rule"], entry["severity"]
    raised = " (the task makes it an error)" if rule in report.raised and severity == "error" else ""
    _say(f"{severity} {rule} {entry['name']}: {entry['issues']} issue(s){raised}", color="red" if severity == "error" else "yellow")
    held = report.issues.first[rule]
    shown = 0
    for issues in list(_alike(held))[:places]:
        lines, named = line_ranges([issue.line for issue in issues], _unit(report))
        shown += named
        _say(f"  {' '.join(part for part in (lines, issues[0].path) if part)}: {issues[0].message}")
    if entry["issues"] > shown:
        _say(f"  ... and {entry['issues'] - shown} more; --format json lists all")
    _say(f"  hint: {held[0].hint}")


def _unit(report: CheckReport) -> str:
    """What the number of an issue counts."""
    return report.read_as.unit if report.read_as else "line"


def _alike(issues: Iterable[Issue]) -> Iterator[list[Issue]]:
    """Yield the issues of a rule, those together that say the same of other lines."""
    groups: dict[tuple[str, str], list[Issue]] = {}
    for issue in issues:
        groups.setdefault((issue.path, issue.message), []).append(issue)
    yield from groups.values()


def line_ranges(lines: Sequence[int], unit: str = "line") -> tuple[str, int]:
    """Line numbers in a few words, and how many of ``lines`` they name.

    ``[3, 4, 5, 9]`` is ``lines 3-5, 9``, or another ``unit`` of the file; 0 is the file as a whole.
    """
    ranges: list[list[int]] = []
    named = 0
    for line in lines:
        if ranges and line in {ranges[-1][1], ranges[-1][1] + 1}:
            ranges[-1][1] = line
        elif len(ranges) == _RANGES:
            break
        else:
            ranges.append([line, line])
        named += 1
    words = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
    if words == "0":
        return "file", named
    return f"{unit}{'s' if len(ranges) > 1 or '-' in words else ''} {words}", named


def _shown_labels(values: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(values.items(), key=lambda item: (-item[1], item[0]))


def _say(text: str, *, color: str | None = None, bold: bool = False) -> None:
    """One line on stdout; coloured only on a terminal, and never where NO_COLOR is set."""
    plain = bool(os.environ.get("NO_COLOR"))
    click.echo(click.style(text, fg=color, bold=bold or None), color=False if plain else None)
