"""`tanzaku doctor`: check that everything that a study needs is available."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tanzaku.display import plain_console

if TYPE_CHECKING:
    from tanzaku.encoders.checks import Check

_STYLES = {"ok": "green", "warn": "bold yellow", "fail": "bold red"}


def doctor(
    encoder: Annotated[
        str | None,
        typer.Argument(
            metavar="ENCODER_OR_BUNDLE",
            help="Also check this encoder (a local folder, a hub id, or tanzaku-mini) or bundle.",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the encoder on the hub.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, instead of lines.")] = False,
) -> None:
    """Check this installation and machine, and an encoder or a bundle; exit status 1 if anything fails.

    Examples:

    ```
    tanzaku doctor
    tanzaku doctor tohoku-nlp/bert-base-japanese
    tanzaku doctor ./my-encoder --json
    tanzaku doctor my-bundle
    ```
    """
    from tanzaku.encoders.checks import check_machine

    checks = _shown(check_machine(), silent=as_json)
    if encoder is not None:
        checks += _shown(_check(encoder, revision=revision), silent=as_json)
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        content = {"ok": not failed, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
    if failed:
        raise typer.Exit(1)


def _check(name: str, *, revision: str | None) -> "Iterator[Check]":
    from tanzaku.ship.inspection import check_bundle, is_bundle

    if is_bundle(Path(name)):
        return check_bundle(Path(name))
    from tanzaku.encoders.inspection import check_encoder

    return check_encoder(name, revision=revision)


def _shown(checks: "Iterable[Check]", *, silent: bool) -> "list[Check]":
    """All checks, each printed as soon as it is made."""
    console = plain_console(soft_wrap=True, quiet=silent)
    made = []
    for check in checks:
        made.append(check)
        console.print(Text.assemble((f"{check.status:<5}", _STYLES[check.status]), f"{check.name}: {check.detail}"))
        if check.remedy:
            console.print(Text.assemble("     ", (f"→ {check.remedy}", "bold")))
    return made
