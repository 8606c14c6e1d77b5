"""`loren sanity RUN`: the task's unseen prompts, pass or fail by criterion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say
from loren.errors import EXIT_GATE


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Prompts answered together.")
@click.option("--show-text", is_flag=True, help="Print the answers too; they may repeat what a prompt says.")
@format_option
def command(run: Path, batch_size: int, show_text: bool, output_format: Format) -> None:
    """Ask RUN's adapter the task's unseen prompts and judge the replies.

    Thresholds stand in task.toml. A prompt that was trained on is an error. Exit code 1 when a criterion fails.

    Raises:
        click.exceptions.Exit: with code 1, when a criterion fails.
    """
    from loren.evaluate.sanity import check_sanity
    from loren.runs.folder import RunFolder

    result = check_sanity(RunFolder(run), batch_size=batch_size, say=say, fetching=show_fetching)
    record = result.record
    lines = [f"sanity {'passed' if record['passed'] else 'FAILED'}{' before, nothing changed since' if result.was_done else ''}"]
    lines += [_table_line(entry) for entry in record["criteria"]]
    lines += [f"  {name:<20}not judged: the task has no rule for it" for name in record["not_applicable"]]
    for prompt, row, answer in zip(record["prompts"], record["rows"], record["answers"], strict=True):
        failed = [f"{name}: {outcome['reason']}" for name, outcome in row.items() if not outcome["passed"]]
        # A reply that does not parse fails everything after it for that one reason.
        lines += [
            f"  prompt {prompt}  {reason}" for reason in (failed if row.get("parses", {}).get("passed", True) else failed[:1])
        ]
        lines += [f"  prompt {prompt}  {answer['text']}"] if show_text else []
    next_command = f"loren evaluate {run} --limit 40" if record["passed"] else f"loren sanity {run} --show-text"
    finish(output_format, record, text="\n".join(lines), next_command=next_command)
    if not record["passed"]:
        raise click.exceptions.Exit(EXIT_GATE)


def _table_line(entry: dict[str, Any]) -> str:
    verdict = "pass" if entry["passed"] else "FAIL"
    return f"  {entry['name']:<20}{entry['met']} of {entry['total']}  (needs {entry['needed']})  {verdict}"
