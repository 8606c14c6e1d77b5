"""report.md and report.schema.json: the forms of a check's report."""

from __future__ import annotations

from loren.data.outputs.schema import schema_text
from reference_pages.markdown import NOTICE, fenced

_HEAD = """\
# Reports of loren check

| `--format` | for | holds |
|---|---|---|
| `text` | people | the first places of each rule; what differs in its line only is told together, the rest is counted |
| `json` | programs | every issue; the schema is below |
| `sarif` | code scanning (GitHub, Azure DevOps), editors | every issue as SARIF 2.1.0, at its line |
| `junit` | build servers (GitLab, Jenkins) | a test case an issue; a rule that was kept is a case that passed |

The report goes to stdout; with a format for machines, the verdict and the next command go to stderr. No form holds a text of a row:
the place is a line, a JSON pointer (`/messages/0/content`) and, within a text, a span of characters. A key that does not look like
the name of a field is `*`. All forms are written issue by issue, whatever their number. As text, several files can be checked at
once.

In SARIF the JSON pointer is the logical location, and `properties.span` the span; an issue of the file as a whole stands at line 1.
In JUnit an error is a failure; a warning passes and says so in the output of its case.

`loren check FILE --croissant OUT` describes a clean dataset as Croissant 1.0 JSON-LD, from the file and its
[DATASET.toml](dataset.md).

## JSON Schema of the JSON report

`loren check --print-schema` prints it; it is shipped with Loren, so that a program can keep the one of the version that it reads.

"""


def report_page() -> str:
    """The forms, and the schema."""
    return f"{NOTICE}\n{_HEAD}{fenced(schema_text(), 'json')}"
