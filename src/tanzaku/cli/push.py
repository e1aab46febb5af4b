"""`tanzaku push`: upload a bundle or an export to the Hugging Face Hub."""

from typing import Annotated

import typer

from tanzaku.cli.messages import command, warn
from tanzaku.display import counted, plain_console


def push(
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE",
            help="Folder that `tanzaku pack` or `tanzaku export` wrote, or a bundle hf://owner/name[@revision].",
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Name of the model on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make the new repository private.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch to upload to; made if missing.", show_default="main")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a bundle, an export or a README.md that is already there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Verify the bundle and list what would be uploaded; connect to nothing.")
    ] = False,
) -> None:
    """Upload a bundle or an export to the Hugging Face Hub, as one commit.

    The checksums are verified first. The token comes from `hf auth login` or HF_TOKEN; HF_ENDPOINT names another server
    than huggingface.co. The address is written to standard output, all else to standard error.

    Examples:

    ```
    tanzaku push my-bundle my-name/my-classifier --dry-run
    tanzaku push my-bundle my-name/my-classifier --private
    tanzaku push my-bundle my-name/my-classifier --revision v2
    ```
    """
    from tanzaku.ship.hub import PREFIX
    from tanzaku.ship.hub import push as upload
    from tanzaku.ship.manifest import MANIFEST_FILE

    done = upload(bundle, name, private=private, revision=revision, force=force, dry_run=dry_run)
    console = plain_console(stderr=True, soft_wrap=True)
    for note in done.notes:
        warn(note)
    said = "would be uploaded" if dry_run else "uploaded"
    console.print(f"{counted(len(done.files), 'file')} ({done.size_bytes / 1e6:.2f} MB) {said}:")
    for file in done.files:
        console.print(f"  {file}")
    if not dry_run and MANIFEST_FILE in done.files:
        at = f"@{revision}" if revision else ""
        console.print(f"Next: {command('classify', f'{PREFIX}{name}{at}')} TEXT")
    typer.echo(done.address)
