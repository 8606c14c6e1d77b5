"""A report as JUnit XML: gates and criteria as test cases, for build servers."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

from loren.data.outputs.junit import xml_text
from loren.report.figures import Comparison
from loren.report.page import Report
from loren.report.sweep import SweepReport


class Case(NamedTuple):
    """One test case."""

    suite: str
    name: str
    outcome: str = "passed"
    """passed, failure, error (it could not be judged) or skipped (it was not measured)."""
    message: str = ""


def run_junit(report: Report) -> str:
    """The gates, the sanity check and the data contract of a run.

    A gate without a verdict is an error: it did not say no, and must not pass either. What was not measured is skipped.
    """
    cases = [_gate(gate) for gate in report.verdict.gates]
    if report.verdict.word is None:
        cases.append(Case("evaluation", "verdict", "skipped", "the golden questions have no verdict"))
    elif not cases:
        outcome = "passed" if report.verdict.passed else "error" if report.verdict.word == "abstain" else "failure"
        cases.append(Case("evaluation", "verdict", outcome, report.verdict.word))
    if report.sanity:
        cases += [
            Case("sanity", c.name, "passed" if c.passed else "failure", f"{c.met} of {c.total}, needs {c.needed}")
            for c in report.sanity.criteria
        ]
        cases += [Case("sanity", name, "skipped", "the task has no rule for it") for name in report.sanity.not_applicable]
    else:
        cases.append(Case("sanity", "sanity", "skipped", "not measured"))
    if report.data:
        cases.append(Case("data", "contract", "failure" if report.data.errors else "passed", f"{report.data.errors} errors"))
    else:
        cases.append(Case("data", "contract", "skipped", "not measured"))
    return _document(cases)


def sweep_junit(report: SweepReport) -> str:
    """Every run of a sweep, and the winner's verdict on the golden questions."""
    cases = [
        Case(
            f"variant {variant.name}",
            f"seed {run.seed}",
            "error" if run.error else "skipped" if run.status in {"waiting", "pruned"} else "passed",
            f"{run.error.kind}: {run.error.message}" if run.error else run.status,
        )
        for variant in report.variants
        for run in variant.runs
    ]
    judged = report.golden.verdict if report.golden else None
    if judged:
        outcome = "passed" if judged.passed else "error" if judged.word == "abstain" else "failure"
        cases.append(Case("golden", judged.candidate or "winner", outcome, judged.word))
    return _document(cases)


def _gate(gate: Comparison) -> Case:
    passed = gate.verdict == ("not worse" if gate.goal == "non-inferiority" else "better") if gate.passed is None else gate.passed
    said = (
        f"{gate.words}: {gate.before_value:.4f} -> {gate.after_value:.4f}, difference {gate.difference:+.4f} "
        f"[{gate.low:+.4f}, {gate.high:+.4f}], adjusted p {gate.adjusted_p:.4f}, detectable {gate.detectable:.4f}"
        + (f", {gate.reason}" if gate.reason else "")
    )
    outcome = "passed" if passed else "error" if gate.verdict == "abstain" else "failure"
    return Case("evaluation", f"{gate.metric}: {gate.before} -> {gate.after}, {gate.goal}", outcome, said)


def _document(cases: list[Case]) -> str:
    root = ElementTree.Element("testsuites", {"name": "loren report", **_counts(cases)})
    for name in dict.fromkeys(case.suite for case in cases):
        members = [case for case in cases if case.suite == name]
        suite = ElementTree.SubElement(root, "testsuite", {"name": xml_text(name), **_counts(members)})
        for case in members:
            entry = ElementTree.SubElement(suite, "testcase", {"classname": xml_text(f"loren.{name}"), "name": xml_text(case.name)})
            message = xml_text(case.message)
            if case.outcome == "passed":
                ElementTree.SubElement(entry, "system-out").text = message
            elif case.outcome == "skipped":
                ElementTree.SubElement(entry, "skipped", {"message": message})
            else:
                ElementTree.SubElement(entry, case.outcome, {"type": case.outcome, "message": message}).text = message
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False).join((
        '<?xml version="1.0" encoding="utf-8"?>\n',
        "\n",
    ))


def _counts(cases: list[Case]) -> dict[str, str]:
    names = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    found = {name: str(sum(case.outcome == outcome for case in cases)) for name, outcome in names.items()}
    return {"tests": str(len(cases)), **found}
