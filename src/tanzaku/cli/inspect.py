"""`tanzaku inspect`: what a bundle is, and whether it is whole and classifies."""

from dataclasses import asdict
from typing import Annotated

import typer

from tanzaku.cli.checks import shown
from tanzaku.cli.classifying import BundleName, folder_of
from tanzaku.cli.json_text import json_text


def inspect(
    bundle: BundleName,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the bundle's encoder is, if not under its name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, instead of lines.")] = False,
) -> None:
    """Show what a bundle contains, verify its checksums and classify a text with it; exit status 1 if anything fails.

    Examples:

    ```
    tanzaku inspect my-bundle
    tanzaku inspect my-bundle --json
    ```
    """
    from tanzaku.ship.inspection import check_bundle

    checks = shown(check_bundle(folder_of(bundle), encoder=encoder), silent=as_json)
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        content = {"ok": not failed, "checks": [asdict(check) for check in checks]}
        typer.echo(json_text(content))
    if failed:
        raise typer.Exit(1)
