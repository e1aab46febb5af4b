"""`tanzaku doctor`: check that everything that a study needs is available."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tanzaku.cli.checks import shown
from tanzaku.cli.json_text import json_text
from tanzaku.cli.messages import command
from tanzaku.errors import BundleError

if TYPE_CHECKING:
    from tanzaku.encoders.checks import Check


def doctor(
    encoder: Annotated[
        str | None,
        typer.Argument(metavar="ENCODER", help="Also check this encoder (a local folder, a Hub id, or tanzaku-mini)."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the encoder on the Hub.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, instead of lines.")] = False,
) -> None:
    """Check this installation and machine, and an encoder; exit status 1 if anything fails.

    `tanzaku inspect` checks a bundle.

    Examples:

    ```
    tanzaku doctor
    tanzaku doctor tohoku-nlp/bert-base-japanese
    tanzaku doctor ./my-encoder --json
    ```
    """
    from tanzaku.encoders.checks import check_machine

    checks = shown(check_machine(), silent=as_json)
    if encoder is not None:
        checks += shown(_check(encoder, revision=revision), silent=as_json)
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        content = {"ok": not failed, "checks": [asdict(check) for check in checks]}
        typer.echo(json_text(content))
    if failed:
        raise typer.Exit(1)


def _check(name: str, *, revision: str | None) -> "Iterator[Check]":
    from tanzaku.encoders.inspection import check_encoder
    from tanzaku.ship.inspection import is_bundle

    if is_bundle(Path(name)):
        raise BundleError(f"{name} is a bundle; check it with: {command('inspect', name)}")
    return check_encoder(name, revision=revision)
