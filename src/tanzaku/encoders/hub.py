"""The Hugging Face Hub: the few files that an encoder needs, from the network or from the Hub's own cache."""

import errno
import logging
from pathlib import Path

from huggingface_hub import HfApi, constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tanzaku.encoders.card import CARD_FILE, LICENSE_FILES
from tanzaku.encoders.files import CONFIG_FILE, select_files
from tanzaku.errors import EncoderError

_log = logging.getLogger(__name__)
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Numbers of errors that have to do with this machine's disk, and not with a connection."""

# The Hub redirects the old owner's name to the new one; its cache, offline, knows nothing of that.
_RENAMED_OWNERS = (("cl-tohoku/", "tohoku-nlp/"),)


def fetch(name: str, *, revision: str | None = None) -> Path:
    """The local folder with an encoder's files: downloaded, or found in the Hub's cache.

    Only the config, the tokenizer, one format of the weights and the model card are fetched, with a progress bar on
    standard error. A connection that breaks is taken up where it broke; after a kill, the files that are whole are
    kept.
    `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_HOME` and `HF_TOKEN` are the Hub client's own variables and hold here.

    Args:
        name: A Hub id, `owner/name`, or an old name without an owner.
        revision: Branch, tag or commit; None is the main branch.

    Raises:
        EncoderError: It is neither on the Hub nor in the cache, or may not be fetched.
    """
    if constants.is_offline_mode():
        failure = "the Hub was not asked, because HF_HUB_OFFLINE is set"
        remedy = "unset HF_HUB_OFFLINE to download it"
    else:
        try:
            return _download(name, revision)
        except EncoderError:
            raise
        # Whatever the client raises (its transport errors change their classes from version to version), the encoder
        # was not fetched; the message carries the cause.
        except Exception as error:
            failure, remedy = explain(error, name, revision)
            _log.info("%s: %s; looking in the cache", name, failure)
    for candidate in _names_of(name):
        if folder := _cached(candidate, revision):
            return folder
    raise EncoderError(
        f"encoder {name!r}{_at(revision)}: there is no local folder of this name, {failure}, "
        f"and the Hub's cache {constants.HF_HUB_CACHE} does not hold it whole; {remedy}, "
        "or copy the encoder's folder to this machine and name it by its path"
    )


def _download(name: str, revision: str | None) -> Path:
    # Not list_repo_files: that tries for half a minute when there is no network, and the cache may hold it all.
    about = HfApi().model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    listing = [file.rfilename for file in about.siblings or () if "/" not in file.rfilename]
    files = select_files(listing, where=f"encoder {name!r} on the Hub")
    return Path(snapshot_download(name, revision=revision, allow_patterns=[*files.names, CARD_FILE, *LICENSE_FILES]))


def _cached(name: str, revision: str | None) -> Path | None:
    """The snapshot in the Hub's cache, if it has every file that the repository's listing (where known) calls for."""
    try:
        listing = [file.path for file in get_cached_repo_tree(name, revision=revision) if "/" not in file.path]
        patterns = list(select_files(listing, where=f"encoder {name!r} in the Hub's cache").names)
    except (CachedRepoTreeNotFoundError, HFValidationError):
        patterns = [CONFIG_FILE]  # filled by an older client, which kept no listing
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=True))
        select_files([path.name for path in folder.iterdir()], where=f"encoder {name!r} in the Hub's cache")
    except (LocalEntryNotFoundError, IncompleteSnapshotError, HFValidationError, EncoderError):
        return None
    return folder


def _names_of(name: str) -> list[str]:
    names = [name]
    for old, new in _RENAMED_OWNERS:
        for one, other in ((old, new), (new, old)):
            if name.startswith(one):
                names.append(other + name.removeprefix(one))
    return names


def explain(error: Exception, name: str, revision: str | None) -> tuple[str, str]:
    """What went wrong on the Hub, and what the user can do about it."""
    hub = constants.ENDPOINT
    if isinstance(error, HFValidationError):
        return "it is not a valid Hub id", "check the spelling (a Hub id reads owner/name)"
    if isinstance(error, GatedRepoError):  # a kind of RepositoryNotFoundError, so asked first
        return "access to it is restricted", f"accept its terms at {hub}/{name} and log in with `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"its repository on {hub} has no revision {revision!r}", "check the branch, tag or commit"
    if isinstance(error, RepositoryNotFoundError):
        return f"{hub} has no such public model", "check the spelling, or log in with `hf auth login` if it is private"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return f"{hub} refused it with status {error.response.status_code}", "check the token, or try again later"
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return f"it can't be stored here ({error.strerror})", "free some space, or set HF_HOME to another folder"
    return (
        f"{hub} can't be reached ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'})",
        "check the network, or set HF_ENDPOINT to a mirror that can be reached",
    )


def _at(revision: str | None) -> str:
    return f" at revision {revision!r}" if revision else ""
