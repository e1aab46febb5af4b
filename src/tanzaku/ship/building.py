"""Builds a bundle in a temporary folder and renames it, so that the bundle is complete or does not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tanzaku.errors import BundleError
from tanzaku.files import atomic_folder, write_atomically
from tanzaku.ship.bundle import BUNDLE_FILE, BundleFacts, read_facts
from tanzaku.ship.cards.write import write_card
from tanzaku.ship.manifest import CARD_FILE, MANIFEST_FILE, is_litter, may_hold, names_in_manifest, write_manifest
from tanzaku.words import Language

_OF_GIT = (".gitattributes", ".gitignore")


@contextmanager
def building(out: Path, *, force: bool, language: Language) -> Iterator[Path]:
    """A new folder to build in, which takes the place `out` when all went well, and is removed otherwise.

    At the end, the model card is written into it.

    Args:
        out: The bundle's folder.
        force: Replace a bundle that lies there.
        language: Of the card.

    Raises:
        BundleError: Something lies in `out`; `force` replaces a bundle, and nothing else.
        OSError: `out` can't be written; the error names it.
    """
    check_out(out, force=force)
    with atomic_folder(out, replace=True) as staging:
        yield staging
        write_card(staging, read_facts(staging), language=language)


def write_facts(folder: Path, facts: BundleFacts) -> None:
    """Write what the bundle says of itself, and the sums of all its files."""
    write_atomically(folder / BUNDLE_FILE, facts.model_dump_json(indent=1) + "\n")
    write_manifest(folder)


def check_out(out: Path, *, force: bool) -> None:
    """Make sure that a bundle can be built in `out`.

    Raises:
        BundleError: Something lies there; `force` allows a bundle, and nothing else with it but its model card.
    """
    if out.name in ("", ".."):
        raise BundleError(f"a bundle is built in a folder next to {out}, which has no name; name a new folder")
    if not out.exists() or (out.is_dir() and all(is_litter(path) for path in out.iterdir())):
        return
    named = names_in_manifest(out / MANIFEST_FILE)
    if named is None and not (out / BUNDLE_FILE).is_file():  # prepared data and others have a manifest too
        raise BundleError(f"{out} contains something that is not a bundle; choose a new folder")
    if not force:
        raise BundleError(
            f"{out} already contains a bundle; choose a new folder, or replace it with --force (force=True in Python)"
        )
    # Of a damaged bundle it is not known which files are its own: those of a kind that bundles hold.
    own = set(filter(may_hold, names_below(out))) if named is None else named
    check_nothing_else(out, own | {MANIFEST_FILE, CARD_FILE}, what="the bundle")


def check_nothing_else(out: Path, own: Collection[str], *, what: str) -> None:
    """Make sure that a folder that is to be replaced has no files but its own.

    Raises:
        BundleError: There is another, which would be lost.
    """
    if others := [name for name in names_below(out) if name not in own]:
        raise BundleError(
            f"{out} contains {others[0]}, which is no part of {what} and would be lost; move it away, or choose a "
            "new folder"
        )


def check_apart(out: Path, source: Path, *, may_replace: bool = False) -> None:
    """Make sure that `out` is not a folder in the bundle `source`, nor the bundle itself, unless it may replace it.

    Raises:
        BundleError: It is: the bundle would hold what its manifest does not name.
    """
    whole = out.resolve()
    refused = whole.parents if may_replace else (whole, *whole.parents)
    if any(place.exists() and place.samefile(source) for place in refused):
        raise BundleError(f"{out} is, or is in, the bundle {source} itself; choose a new folder")


def names_below(out: Path) -> list[str]:
    """The files in a folder, but for those that the Hub's client and file managers leave there."""
    paths = (path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file() and not is_litter(path))
    return [path.as_posix() for path in paths if path.parts[0] != ".cache" and path.name not in _OF_GIT]
