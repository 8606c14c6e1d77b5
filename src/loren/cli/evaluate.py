"""`loren evaluate RUN`: is the adapter better than the base model, and than a good prompt?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from loren.cli.endpoint import endpoint_options, make_endpoint
from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say
from loren.errors import EXIT_GATE

if TYPE_CHECKING:
    from loren.evaluate.golden import Evaluation

_VARIANTS = ("base", "fewshot", "adapter", "merged", "http")


class VariantNames(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "VARIANTS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, each once.

        Raises:
            click.BadParameter: one is unknown.
        """
        if isinstance(value, tuple):
            return cast("tuple[str, ...]", value)
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip()))
        if unknown := [name for name in names if name not in _VARIANTS]:
            self.fail(f"expected some of {', '.join(_VARIANTS)}, got {', '.join(unknown)}", param, ctx)
        return names


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--variants",
    type=VariantNames(),
    help="Some of base,fewshot,adapter,merged,http. [default: base,fewshot,adapter; "
    "base,adapter with --limit or unknown training rows]",
)
@click.option("--constrained", type=VariantNames(), default="", help="Variants that also answer held to schema.json (llguidance).")
@click.option("--limit", type=click.IntRange(1), help="Ask a fixed stratified sample; a preview under eval/preview/, no verdict.")
@click.option("--guard/--no-guard", default=True, show_default=True, help="Whether general questions show what was forgotten.")
@click.option(
    "--train-sample/--no-train-sample",
    default=True,
    show_default=True,
    help="Whether training rows show what was learned by heart.",
)
@click.option("--repin", is_flag=True, help="Take the golden file as it is now for the yardstick.")
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Prompts answered together.")
@endpoint_options("http")
@format_option
def command(
    run: Path,
    variants: tuple[str, ...] | None,
    constrained: tuple[str, ...],
    limit: int | None,
    guard: bool,
    train_sample: bool,
    repin: bool,
    batch_size: int,
    output_format: Format,
    sent: bool,
    **endpoint: Any,
) -> int:
    """Answer the golden questions with RUN's variants, score the answers, and say whether the adapter is better.

    base is the base model with the task's system prompt; fewshot adds the schema, examples from the training rows and one retry of
    an invalid answer; adapter and merged get what training had. With --constrained a variant answers once more, its decoding held
    to the task's schema, beside its free answers. http asks an OpenAI-compatible endpoint, with the system prompt that base gets;
    nothing is sent without --send, and a key is read from LOREN_HTTP_API_KEY alone.

    Answers that the same weights gave before to the same questions are taken from their file, and a call that was killed is gone
    on with. Leaves with 1 unless every gate says yes.
    """
    from loren.evaluate.arms import Asking
    from loren.evaluate.golden import Wishes, evaluate_run
    from loren.runs.folder import RunFolder

    wishes = Wishes(cast("Any", variants), cast("Any", constrained), limit, guard, train_sample, repin)
    asking = Asking(batch_size, make_endpoint(endpoint, "http") if endpoint["http_url"] else None, sent)
    evaluation = evaluate_run(RunFolder(run), wishes, asking, say=say, fetching=show_fetching)
    text = "\n".join([*_table(evaluation.result), *_verdict(evaluation.result), f"written to {evaluation.path}"])
    finish(output_format, evaluation.result, text=text, next_command=_next(run, evaluation))
    return 0 if evaluation.passed else EXIT_GATE


def _next(run: Path, evaluation: Evaluation) -> str:
    """What to mend after a no, the page after a yes; a preview is gone on with by the whole."""
    if "verdict" not in evaluation.result:
        return f"loren evaluate {shlex.quote(str(run))}"
    return f"loren {'report' if evaluation.passed else 'triage'} {shlex.quote(str(run))}"


def _table(result: dict[str, Any]) -> list[str]:
    """One line a figure, one column an arm."""
    golden, arms = result["golden"], result["arms"]
    width = max(12, *(len(name) + 2 for name in arms))
    lines = [
        f"{golden['asked']} of {golden['rows']} golden questions in {golden['situations']} situations",
        f"{'':<24}" + "".join(f"{name:>{width}}" for name in arms),
    ]
    for metric in next(iter(arms.values()))["metrics"]:
        lines.append(f"{metric:<24}" + "".join(f"{_shown(arm['metrics'][metric]):>{width}}" for arm in arms.values()))
    tokens = [f"{arm['prompt_tokens_a_request'] + arm['completion_tokens_a_request']:.0f}" for arm in arms.values()]
    lines.append(f"{'tokens a question':<24}" + "".join(f"{count:>{width}}" for count in tokens))
    for what in ("cut", "errors"):
        if any(arm[what] for arm in arms.values()):
            lines.append(f"{what:<24}" + "".join(f"{arm[what]:>{width}}" for arm in arms.values()))
    return lines


def _shown(figure: dict[str, Any]) -> str:
    return f"{figure['count']} of {figure['of']}" if figure["kind"] == "share" else f"{figure['value']:.3f}"


def _verdict(result: dict[str, Any]) -> list[str]:
    """The gates, one line each, and what they come to; nothing for a preview."""
    if "verdict" not in result:
        return ["a preview: no verdict"]
    lines = ["gates (95 % intervals; p after Holm's correction)"]
    for place in result["verdict"]["gates"]:
        lines.append(f"  {_gate(result['comparisons'][place])}")
    missing = [reason for reason in result["verdict"]["reasons"] if reason.endswith("was not asked")]
    lines += [f"  {reason}" for reason in missing]
    lines.append(f"verdict: {result['verdict']['candidate']} is {_WORDS[result['verdict']['word']]}")
    lines.append(f"is a prompt enough? {result['prompt_is_enough']['words']}")
    if tokens := result["prompt_is_enough"].get("tokens_a_request"):
        lines.append("  tokens a question: " + ", ".join(f"{name} {count:g}" for name, count in tokens.items()))
    return lines


_WORDS = {
    "better": "better",
    "worse": "worse",
    "not worse": "not worse",
    "inconclusive": "neither better nor worse as far as these rows tell (inconclusive)",
    "abstain": "not judged (abstain): rows or variants are missing",
}


def _gate(seen: dict[str, Any]) -> str:
    points = f"{seen['difference']:+.1%} ({seen['low']:+.1%} to {seen['high']:+.1%})"
    figures = f"p {seen['adjusted_p']:.2g}, could have seen {seen['detectable']:.1%}"
    return f"{seen['metric']:<20} against {seen['before']:<8} {points}, {figures}: {seen['words']}"
