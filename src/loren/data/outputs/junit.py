"""A report as JUnit XML: what GitLab, Jenkins and other build servers show as test results."""

from __future__ import annotations

import re
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from loren.data.report import CheckReport
from loren.data.rules import Issue, all_rules, find_rule

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can't hold; a file name may."""


def write_junit(report: CheckReport, out: TextIO) -> None:
    """Write the report, one test case an issue, without holding the issues.

    A rule that was kept is a case that passed. An error is a failure; a warning passes, and is said in the case's output, for JUnit
    knows no warnings.
    """
    kept = [rule for rule in all_rules().values() if rule.scope in report.scopes and rule.id not in report.issues.counts]
    names = {id_: f"{id_} {rule.name}" for id_ in report.issues.counts if (rule := find_rule(id_))}
    counts = _attributes(tests=len(kept) + len(report.issues), failures=report.errors, errors=0, skipped=0)
    out.write(f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="loren check"{counts}>\n')
    out.write(f"  <testsuite{_attributes(name=report.file)}{counts}>\n")
    for rule in kept:
        out.write(f"    <testcase{_attributes(classname=f'{rule.id} {rule.name}', name='kept')}/>\n")
    for issue in report.issues:
        out.write(_case(issue, names[issue.rule], report.file))
    out.write("  </testsuite>\n</testsuites>\n")


def _case(issue: Issue, rule: str, file: str) -> str:
    line = issue.line or 1
    place = " ".join(part for part in (f"line {issue.line}" if issue.line else "file", issue.path) if part)
    text = escape(xml_text(f"{file}:{line}: {issue.message}\nhint: {issue.hint}"))
    if issue.severity == "error":
        said = f"<failure{_attributes(type=issue.rule, message=issue.message)}>{text}</failure>"
    else:
        said = f"<system-out>warning: {text}</system-out>"
    return f"    <testcase{_attributes(classname=rule, name=place, file=file, line=line)}>{said}</testcase>\n"


def _attributes(**values: str | int) -> str:
    return "".join(f" {name}={quoteattr(xml_text(str(value)))}" for name, value in values.items())


def xml_text(text: str) -> str:
    """A text with a question mark for every character that XML can not hold."""
    return _NOT_XML.sub("?", text)
