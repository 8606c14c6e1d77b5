"""A report as SARIF 2.1.0: what code scanning of GitHub, Azure DevOps and editors reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from loren import __version__
from loren.data.report import CheckReport
from loren.data.rules import Issue, Rule, find_rule

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def write_sarif(report: CheckReport, out: TextIO) -> None:
    """Write the report, one result a line, without holding the results.

    A result is at its line. An issue of the file as a whole stands at line 1, for readers need one. Where in a row it is says the
    logical location, a JSON pointer; where in a text, ``properties.span``.
    """
    broken = [(rule, entry["severity"]) for entry in report.by_rule() if (rule := find_rule(entry["rule"]))]
    places = {rule.id: index for index, (rule, _) in enumerate(broken)}
    driver = {
        "name": "Loren",
        "semanticVersion": __version__,
        "rules": [_descriptor(rule, severity) for rule, severity in broken],
    }
    artifact = {"location": {"uri": file_uri(report.file)}, "hashes": {"sha-256": report.sha256}}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True}],
        "artifacts": [artifact],
    }
    head = json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=2)
    out.write(head.removesuffix("\n    }\n  ]\n}") + ',\n      "results": [')
    separator = "\n        "
    for issue in report.issues:
        result = _result(issue, places[issue.rule], artifact["location"])
        out.write(separator + json.dumps(result, ensure_ascii=False))
        separator = ",\n        "
    out.write("]\n    }\n  ]\n}\n")


def file_uri(file: str) -> str:
    """A path as a URI: relative ones, which readers resolve against the repository, stay relative."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _descriptor(rule: Rule, severity: str) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.name.replace("-", " ")},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": f"{rule.hint}. `loren check --explain {rule.id}` shows an example."},
        "defaultConfiguration": {"level": severity},
    }


def _result(issue: Issue, rule_index: int, location: Mapping[str, str]) -> dict[str, Any]:
    place: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {**location, "index": 0}, "region": {"startLine": issue.line or 1}}
    }
    if issue.path:
        place["logicalLocations"] = [{"fullyQualifiedName": issue.path, "kind": "value"}]
    result: dict[str, Any] = {
        "ruleId": issue.rule,
        "ruleIndex": rule_index,
        "level": issue.severity,
        "message": {"text": f"{issue.path}: {issue.message}" if issue.path else issue.message},
        "locations": [place],
    }
    if issue.span is not None:
        result["properties"] = {"span": list(issue.span)}
    return result
