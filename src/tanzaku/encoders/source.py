"""Where an encoder comes from: a local folder, the Hugging Face Hub or its cache, or the package itself."""

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tanzaku.encoders.files import CONFIG_FILE, EncoderFiles, select_files, shard_names
from tanzaku.errors import EncoderError, TanzakuWarning
from tanzaku.files import sha256_of_file

EMBEDDED_NAME = "tanzaku-mini"

_EMBEDDED_FOLDER = Path(__file__).parent / "mini"
_CACHED = "models--"  # in the Hub's cache: models--owner--name/snapshots/commit
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class EncoderSource:
    """An encoder that lies on this machine.

    `name` finds it from every folder: a Hub id as the user gave it, or a local folder's absolute path; `folder` holds
    config, weights and tokenizer; `fingerprint` is the SHA-256, in hexadecimal, over the names and contents of those
    files: equal encoders, equal fingerprint.
    """

    name: str
    folder: Path
    fingerprint: str


def resolve_encoder(name: str, *, revision: str | None = None) -> EncoderSource:
    """Find an encoder, and fetch it from the Hub where it must be.

    Args:
        name: A local folder, a Hub id (`owner/name`, or an old name without an owner), or `tanzaku-mini`.
        revision: Branch, tag or commit on the Hub; None is its main branch.

    Raises:
        EncoderError: It is none of these, can't be reached, or is incomplete.
    """
    name = absolute_name(name)
    folder = _folder_of(name, revision=revision)
    files = select_files([path.name for path in folder.iterdir()], where=f"encoder {name!r} ({folder})")
    _check_whole(folder, files)
    return EncoderSource(name=name, folder=folder, fingerprint=_fingerprint(folder, files))


def warn_of_revision(source: EncoderSource, revision: str | None) -> None:
    """Warn of a revision that has no effect, since the encoder is not from the Hub."""
    if revision is not None and (source.name == EMBEDDED_NAME or Path(source.name).is_absolute()):
        warnings.warn(
            f"the encoder {source.name!r} is not from the Hub, so the revision {revision!r} has no effect",
            TanzakuWarning,
            stacklevel=2,
        )


def absolute_name(name: str) -> str:
    """A name that finds the same encoder from every folder: a local folder's absolute path; any other name as it is."""
    try:
        folder = Path(name).expanduser()
        return str(folder.resolve()) if name and name != EMBEDDED_NAME and folder.is_dir() else name
    except (OSError, RuntimeError, ValueError):  # too long, or ~ of somebody who does not exist
        return name


def short_name(source: EncoderSource) -> str:
    """The encoder's name for records and cards: a local folder's without the path on this machine, and that of the Hub
    or of the package where the folder is theirs."""
    if not Path(source.name).is_absolute():
        return source.name
    if source.folder == _EMBEDDED_FOLDER:
        return EMBEDDED_NAME
    repository = source.folder.parent.parent.name
    if source.folder.parent.name == "snapshots" and repository.startswith(_CACHED):
        return repository.removeprefix(_CACHED).replace("--", "/")
    return source.folder.name


def has_embedded() -> bool:
    """Whether `tanzaku-mini` is part of this installation."""
    return (_EMBEDDED_FOLDER / CONFIG_FILE).is_file()


def files_of(source: EncoderSource) -> EncoderFiles:
    """The files of a resolved encoder."""
    return select_files([path.name for path in source.folder.iterdir()], where=f"encoder {source.name!r}")


def read_settings(source: EncoderSource, file_name: str) -> dict[str, Any]:
    """A JSON file of the encoder, as it stands; empty where the encoder has no such file.

    Raises:
        EncoderError: It is not a JSON object.
    """
    path = source.folder / file_name
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"{path} can't be read as JSON ({error}); download the encoder again") from error
    if not isinstance(settings, dict):
        raise EncoderError(f"{path} is not a JSON object; download the encoder again")
    return settings


def _folder_of(name: str, *, revision: str | None) -> Path:
    if name == EMBEDDED_NAME:
        if not has_embedded():
            raise EncoderError(
                f"the embedded encoder {EMBEDDED_NAME!r} is not part of this installation; "
                "install it with: pip install ./mini (in the cloned folder of Tanzaku), or name a local folder or a "
                "Hub id such as tohoku-nlp/bert-base-japanese"
            )
        return _EMBEDDED_FOLDER
    folder = Path(name)
    if folder.is_absolute() and folder.is_dir():
        return folder
    from tanzaku.encoders.hub import fetch  # the Hub's client is slow to import, and a local folder needs none

    return fetch(name, revision=revision)


def _check_whole(folder: Path, files: EncoderFiles) -> None:
    """Find what an interrupted copy, or a `git clone` without LFS, leaves behind."""
    for name in shard_names(folder, files):
        path = folder / name
        if not path.is_file():
            raise EncoderError(f"{path} is missing, though the index next to it names it; download the encoder again")
        with path.open("rb") as handle:
            if handle.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise EncoderError(
                    f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in {folder}, or copy the file"
                )


def _fingerprint(folder: Path, files: EncoderFiles) -> str:
    digest = hashlib.sha256()
    for name in files.names:
        digest.update(name.encode("utf-8") + b"\0" + bytes.fromhex(sha256_of_file(folder / name)))
    return digest.hexdigest()
