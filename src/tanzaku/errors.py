"""The errors that Tanzaku raises on purpose, and the system's errors in words.

Each message names the value that is wrong, where it stands, what would be valid, and the remedy. The command line
prints the message alone; anything that is not a `TanzakuError` is a bug and shows its traceback.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class TanzakuError(Exception):
    """Base class of every error that a user can cause and mend."""


class DataError(TanzakuError):
    """Documents, labels or splits that can't be used as they are."""


class EncoderError(TanzakuError):
    """An encoder or tokenizer that is missing, incomplete or does not fit."""


class SpecError(TanzakuError):
    """A study file, or a `--set` override, that says something invalid."""


class MethodError(TanzakuError):
    """A method that can't be attached to this encoder, or a saved one that can't be read."""


class CheckpointError(TanzakuError):
    """A checkpoint that is damaged or belongs to another run."""


class RecordError(TanzakuError):
    """A run record that is damaged, missing or of an unknown version."""


class ProcessError(TanzakuError):
    """A worker process that could not be started, or died; or another process that is in the way."""


class TrackingError(TanzakuError):
    """A tracker can't be reached, or refuses what it is sent."""


class BundleError(TanzakuError):
    """A run that can't be packed, or a bundle that is damaged or lacks its encoder."""


def describe_validation_error(error: ValidationError, *, tagged: bool = False) -> str:
    """The first complaint about a file's content with its place, and how many more there are, in one line.

    Args:
        error: Of a model, or of a tagged union of models.
        tagged: Whether it is of a tagged union: then each place begins with the tag, which is left out.
    """
    complaints = error.errors(include_url=False)
    first = complaints[0]
    place = ".".join(map(str, first["loc"][tagged:])) or "the content"
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return f"{place}: {first['msg'].removeprefix('Value error, ')}{more}"


def describe_os_error(error: OSError) -> str:
    """The path, the system's reason and a remedy, in one line: for a folder that can't be written, a full disk, …"""
    if error.errno is None:  # a library's, with a sentence of its own
        return str(error) or type(error).__name__
    path = f"{error.filename}: " if error.filename is not None else ""
    return f"{path}{error.strerror or 'the operation failed'}; {_REMEDIES.get(error.errno, _OTHER_REMEDY)}"


_CHOOSE_ANOTHER = "check the permissions of this path, or choose another folder"
_FREE_SPACE = "free some space or choose a folder on another disk, and repeat the command"
_REMEDIES = {
    errno.EACCES: _CHOOSE_ANOTHER,
    errno.EPERM: _CHOOSE_ANOTHER,
    errno.EROFS: "this file system is read-only; choose another folder",
    errno.ENOENT: "check the spelling of the path",
    errno.ENOTDIR: "a part of this path is a file and not a folder; choose another path",
    errno.EISDIR: "this is a folder; give the path of a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EMFILE: "allow more open files, for instance with: ulimit -n 4096",
}
_OTHER_REMEDY = "check the path and the disk, and repeat the command"


class TanzakuWarning(UserWarning):
    """Something that the user should look at, but that need not stop the work."""
