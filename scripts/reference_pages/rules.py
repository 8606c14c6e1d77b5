"""rules.md: the data contract."""

from __future__ import annotations

from loren.data.rules import Rule, all_rules
from reference_pages.markdown import NOTICE, anchor, fenced

_SCOPES = {
    "line": "one line",
    "target": "the target of a line (with `--task`)",
    "file": "the file as a whole",
    "labels": "the label values of the file (with `--task`)",
    "golden": "training rows against the task's golden rows (in `loren train`)",
    "approvals": "the approvals file (with `--approvals`, or `data.approvals`)",
}

_RULES_HEAD = """\
# Rules of the data contract

`loren check FILE` judges a training file by these rules; `loren train` refuses a file that breaks one of severity *error*.
`loren check --explain ID` prints one entry of this page.

In the examples `<FF>` is the byte 0xFF, `<a*1000>` is `a` a thousand times, and a line that ends with `<n=1..9>` stands for nine
such lines, with 1 to 9 in place of `<n>`. Where a rule needs a task, the task's targets are objects of two keys: `topic`, its
label, is `"a"` or `"b"`, and `reply` is a text that is not empty. Where a rule is about approvals, the tables of an approvals file
follow the rows, and `ROW` stands for the digest of the row, which the JSON report prints as `row`.
"""


def rules_page() -> str:
    """Every rule of the data contract with its two examples."""
    rules = list(all_rules().values())
    lines = [f"| [{rule.id}](#{anchor(f'{rule.id} {rule.name}')}) | {rule.name} | {rule.severity} |" for rule in rules]
    table = "| id | name | severity |\n|---|---|---|\n" + "\n".join(lines) + "\n"
    return "\n".join([NOTICE, _RULES_HEAD, table, *map(_rule_entry, rules)])


def _rule_entry(rule: Rule) -> str:
    return (
        f"## {rule.id} {rule.name}\n\n{rule.severity} · judges {_SCOPES[rule.scope]}\n\n{rule.explanation}\n\n"
        f"**How to mend it:** {rule.hint}\n\nBreaks the rule:\n\n{fenced(rule.breaks)}\nDoes not:\n\n{fenced(rule.passes)}"
    )
