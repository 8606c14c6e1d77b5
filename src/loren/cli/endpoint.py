"""The options of a command that asks an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from loren.models.endpoint import Endpoint


def endpoint_options(prefix: str = "", *, required: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that say where and how hard to ask, and `--send`.

    Args:
        prefix: of the options and parameters: "http" makes ``--http-url`` and ``http_url``, "" makes ``--url`` and ``url``.
        required: whether address and model must be given.
    """
    dash, line = (f"{prefix}-", f"{prefix}_") if prefix else ("", "")
    options = [
        click.option(f"--{dash}url", f"{line}url", required=required, metavar="URL", help="Base address, such as https://host/v1."),
        click.option(f"--{dash}model", f"{line}model", required=required, metavar="NAME", help="The model's name there."),
        click.option(f"--{dash}timeout", f"{line}timeout", type=float, default=60.0, show_default=True, help="Seconds a request."),
        click.option(
            f"--{dash}retries", f"{line}retries", type=int, default=4, show_default=True, help="More tries after a failure."
        ),
        click.option(f"--{dash}rate", f"{line}rate", type=float, default=5.0, show_default=True, help="Most requests a second."),
        click.option(
            f"--{dash}concurrency", f"{line}concurrency", type=int, default=4, show_default=True, help="Requests at once."
        ),
        click.option(
            f"--{dash}allow-plain", f"{line}allow_plain", is_flag=True, help="Allow http:// to another machine, unencrypted."
        ),
        click.option("--send", "sent", is_flag=True, help="Agree to sending these rows; without it nothing leaves this machine."),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def make_endpoint(options: dict[str, Any], prefix: str = "") -> Endpoint:
    """The endpoint of a command's parameters; see ``endpoint_options``.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    line = f"{prefix}_" if prefix else ""
    return Endpoint(
        options[f"{line}url"] or "",
        options[f"{line}model"] or "",
        timeout_s=options[f"{line}timeout"],
        retries=options[f"{line}retries"],
        requests_a_second=options[f"{line}rate"],
        concurrency=options[f"{line}concurrency"],
        allow_http=options[f"{line}allow_plain"],
    )
