"""The manifest of a bundle: the SHA-256 of every file in it, written last. It detects damage; it is not a signature."""

import json
import shlex
from pathlib import Path

from tanzaku.errors import BundleError
from tanzaku.files import sha256_of_file, write_json_atomically

MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
_FORMAT = "tanzaku-bundle-1"
# Settings, tensors, vocabularies, sentencepiece models and graphs: none of these can hold a pickle or code.
_ENDINGS = (".json", ".safetensors", ".txt", ".model", ".spm", ".onnx", ".xml")
_OPENVINO_WEIGHTS = "model.bin"  # other .bin files are PyTorch's, which are pickles

_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
# At the top of a bundle, and never read from there: the model card, which people edit, and what git and the Hub add.
_NOT_CHECKED = (CARD_FILE, ".gitattributes", ".gitignore")
_NOT_CHECKED_FOLDERS = (".git", ".cache")


def is_litter(path: Path) -> bool:
    """Whether a file is one that a file manager leaves in every folder that it shows."""
    return path.name in _LITTER


def is_not_checked(name: str) -> bool:
    """Whether a file may be in a bundle without being named in its manifest; nothing reads it.

    Args:
        name: The file's path in the bundle, with forward slashes.
    """
    return name in _NOT_CHECKED or name.partition("/")[0] in _NOT_CHECKED_FOLDERS


def write_manifest(folder: Path) -> None:
    """Write the sums of all files below `folder` into its manifest.

    Raises:
        BundleError: A file is of a kind that no bundle holds.
    """
    names = _names_in(folder)
    for name in names:
        if not may_hold(name):
            raise BundleError(f"{name} can't go into a bundle, which holds {', '.join(_ENDINGS)} files and no others")
    write_json_atomically(
        folder / MANIFEST_FILE, {"format": _FORMAT, "files": {name: sha256_of_file(folder / name) for name in names}}
    )


def check_manifest(folder: Path) -> None:
    """Make sure that a bundle's files are those that its manifest names, byte for byte, and no others.

    Raises:
        BundleError: There is no bundle in `folder`, or a file of it is missing, damaged or not its own; the message
            names the file.
    """
    sums = _read(folder)
    present = set(_names_in(folder))
    for name in sorted(sums):
        if name not in present:
            raise BundleError(f"the bundle {folder} is incomplete: {name} is missing; copy or pack it again")
    if extra := sorted(present - set(sums)):
        raise BundleError(
            f"the bundle {folder} holds {extra[0]}, which its manifest does not name; remove that file, or pack again"
        )
    for name, expected in sorted(sums.items()):
        if not may_hold(name):
            raise BundleError(f"the bundle {folder} holds {name}, and no bundle holds such a file; pack it again")
        if (found := sha256_of_file(folder / name)) != expected:
            raise BundleError(
                f"the bundle {folder} is damaged: the SHA-256 of {name} is {found[:12]}…, and its manifest says "
                f"{str(expected)[:12]}…; copy or pack it again"
            )


def names_in_manifest(path: Path) -> frozenset[str] | None:
    """The files that the manifest of a bundle names, whatever its version; None if it is none of a bundle."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not _is_of_a_bundle(content.get("format")):
        return None
    files = content.get("files")
    return frozenset(files) if isinstance(files, dict) else frozenset()


def _is_of_a_bundle(found: object) -> bool:
    return str(found).startswith(_FORMAT.rstrip("0123456789"))


def may_hold(name: str) -> bool:
    """Whether a bundle may hold a file of this kind: none that can hold a pickle or code."""
    return name.endswith(_ENDINGS) or name == _OPENVINO_WEIGHTS


def _read(folder: Path) -> dict[str, str]:
    path = folder / MANIFEST_FILE
    if not folder.is_dir():
        what = "is a file, and a bundle is a folder" if folder.exists() else "there is no such folder"
        on_hub = f", or hf://{folder} for one on the Hub" if len(folder.parts) == 2 and not folder.is_absolute() else ""
        raise BundleError(f"{folder}: {what}; give a folder that `tanzaku fit` or `tanzaku pack` wrote{on_hub}")
    if not path.is_file():
        raise BundleError(_without_manifest(folder))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} can't be read ({error}); copy or pack the bundle again") from error
    found = content.get("format") if isinstance(content, dict) else None
    if not _is_of_a_bundle(found):
        raise BundleError(
            f"{folder} is not a bundle: {path} is of another kind; give a folder that `tanzaku fit` or `tanzaku pack` "
            "wrote"
        )
    if found != _FORMAT:
        raise BundleError(
            f"{path} has the format {found!r}; this Tanzaku reads {_FORMAT}: install the one that packed it"
        )
    sums = content.get("files")
    if not isinstance(sums, dict):
        raise BundleError(f"{path} names no files; copy or pack the bundle again")
    return sums


def _without_manifest(folder: Path) -> str:
    """What to say of a folder that has no manifest, by what lies in it."""
    if (folder / "bundle.json").is_file():
        return f"the bundle {folder} is incomplete: {MANIFEST_FILE} is missing; copy or pack it again"
    missing = f"{folder} is not a bundle: {MANIFEST_FILE} is missing"
    if (folder / "fit.json").is_file():
        return f"{missing}; it is the study of a `tanzaku fit`: give the folder of its classifier, such as its --out"
    if any((folder / name).is_file() for name in ("study.json", "study.toml", "record.json")):  # of a study or run
        pack = f"tanzaku pack {shlex.quote(str(folder))} --out my-bundle"
        return f"{missing}; it is of a study: pack the classifier with `{pack}`"
    return f"{missing}; give a folder that `tanzaku fit` or `tanzaku pack` wrote"


def _names_in(folder: Path) -> list[str]:
    """All files but the manifest and those that it does not name, by their paths in the folder with forward slashes."""
    # A link counts as a file even where it leads nowhere.
    paths = (path for path in folder.rglob("*") if (path.is_file() or path.is_symlink()) and not is_litter(path))
    names = (path.relative_to(folder).as_posix() for path in paths)
    return sorted(name for name in names if name != MANIFEST_FILE and not is_not_checked(name))
