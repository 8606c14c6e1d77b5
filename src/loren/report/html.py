"""A report as one HTML page: no request, no script that is needed, every word of a file escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from loren.data.rules import Language
from loren.report.charts import Chart, bar, difference_axis, line_chart
from loren.report.figures import Comparison
from loren.report.order import arms_in_order, metrics_by_role, metrics_in_order
from loren.report.page import Report, other_reasons
from loren.report.sweep import SweepReport
from loren.report.words import Words

MOST_FLIPS = 60
"""Of each list on the page; report.json holds all."""


def run_page(report: Report, language: Language) -> str:
    """The page of a run."""
    evaluation = report.evaluation
    arms = evaluation.arms if evaluation else {}
    values: dict[str, Any] = {
        "r": report,
        "reasons": other_reasons(report.verdict),
        "arms": arms_in_order(arms),
        "roles": metrics_by_role(arms),
        "losses": _losses(report),
        "rates": _rates(report),
        "most_flips": MOST_FLIPS,
    }
    return render("run.html.jinja", values, language, name=report.name)


def sweep_page(report: SweepReport, language: Language) -> str:
    """The page of a sweep."""
    variants = report.variants
    values: dict[str, Any] = {
        "r": report,
        "targets": metrics_in_order({name for v in variants for name, m in v.metrics.items() if m.role == "target"}),
        "wordings": metrics_in_order({name for v in variants for name in v.metrics if name == "wording"}),
        "forms": metrics_in_order({name for v in variants for name in v.metrics if name == "schema_valid"}),
    }
    return render("sweep.html.jinja", values, language, name=report.name)


def render(template: str, values: Mapping[str, Any], language: Language, *, name: str) -> str:
    """Fill a template inside the frame that all pages share.

    Args:
        template: its name under templates/.
        values: what it shows.
        language: of the words.
        name: of the run or sweep.
    """
    style, script = (_own(file) for file in ("style.css", "script.js"))
    return (
        _environment(language)
        .get_template(template)
        .render(**values, title=name, style=Markup(style), script=Markup(script), policy=_policy(style, script))
    )


@cache
def _environment(language: Language) -> jinja2.Environment:
    # Autoescape is what keeps a foreign text from being markup; nothing but our own style and script is Markup.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loren.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared: dict[str, Any] = {
        "w": Words(language),
        "lang": language,
        "bar": bar,
        "axis_of": _axis_of,
        "arms_in_order": arms_in_order,
        "metrics_in_order": metrics_in_order,
        "label": _label,
    }
    # Globals, and not values of the one template: macros that are imported see nothing else.
    environment.globals.update(shared)
    return environment


def _own(file: str) -> str:
    return files("loren.report").joinpath("templates", file).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """The content security policy: our style and our script, by their hashes, and nothing else."""
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _axis_of(rows: Sequence[Comparison], kind: str) -> tuple[float, float]:
    """One axis for all differences of a kind in a table, so that their lengths can be compared."""
    return difference_axis([(row.low, row.high) for row in rows if row.kind == kind])


def _label(value: str) -> str:
    """A label's value, which the data report holds as JSON text."""
    try:
        found: object = json.loads(value)
    except ValueError:
        return value
    return found if isinstance(found, str) else value


def _losses(report: Report) -> Chart | None:
    series = {
        "train": [(float(point.step), point.loss) for point in report.steps if point.loss is not None],
        "validation": [(float(point.step), point.eval_loss) for point in report.steps if point.eval_loss is not None],
    }
    return line_chart(series, dotted=frozenset({"validation"})) if any(series.values()) else None


def _rates(report: Report) -> Chart | None:
    rates = [(float(point.step), point.learning_rate) for point in report.steps if point.learning_rate is not None]
    return line_chart({"train": rates}) if rates else None
