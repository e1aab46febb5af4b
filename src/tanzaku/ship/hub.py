"""Bundles on the Hugging Face Hub, or another server with its interface: uploaded whole, verified after a download."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tanzaku.encoders.card import is_hub_id
from tanzaku.errors import BundleError, TanzakuWarning
from tanzaku.extras import require_extra
from tanzaku.files import sha256_of_file
from tanzaku.ship.bundle import EncoderBundleFacts, open_bundle
from tanzaku.ship.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    is_litter,
    is_not_checked,
    may_hold,
    names_in_manifest,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIX = "hf://"
# A Path of such an address has lost a slash.
_ADDRESS = re.compile(r"hf:/{1,2}(?P<name>[^@]+?)/?(?:@(?P<revision>[^@]+))?")
_KEPT = ".gitattributes"  # the Hub's own
_TRY_LATER = {408, 429}  # timeout, too many requests


@dataclass(frozen=True)
class Upload:
    """What is uploaded, or would be."""

    address: str
    files: tuple[str, ...]
    """Their paths in the folder, with forward slashes."""
    size_bytes: int
    notes: tuple[str, ...]
    """What the user should know of what others can do with it."""


def bundle_folder(name: str | Path) -> Path:
    """The folder of a bundle: its path, or, of `hf://owner/name[@revision]`, where the Hub's client put it.

    Raises:
        BundleError: The address is not one, or the bundle can't be fetched.
    """
    if not str(name).startswith("hf:/"):
        return Path(name)
    found = _ADDRESS.fullmatch(str(name))
    if found is None or not is_hub_id(found["name"]):
        raise BundleError(
            f"{name} is not the address of a bundle; write it as hf://owner/name or hf://owner/name@revision"
        )
    return _fetch(found["name"], revision=found["revision"])


def _fetch(name: str, *, revision: str | None) -> Path:
    """Download a bundle's files, and none of other kinds; without a connection, take them from the client's cache."""
    require_extra("hub", purpose="a bundle on the Hub")
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    from tanzaku.encoders.hub import explain

    address = f"hf://{name}" + (f" at revision {revision!r}" if revision else "")
    if constants.is_offline_mode():
        failure, remedy = "the Hub was not asked, because HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"
    else:
        try:
            return _download(HfApi(), name, revision)
        except BundleError:
            raise
        # Whatever the client raises, the bundle was not fetched; the message carries the cause.
        except Exception as error:
            failure, remedy = explain(error, name, revision)
            if _is_an_answer(error):
                raise BundleError(f"the bundle {address} can't be fetched: {failure}; {remedy}") from error
    try:
        cached = Path(
            HfApi().snapshot_download(name, revision=revision, allow_patterns=[MANIFEST_FILE], local_files_only=True)
        )
    except (LocalEntryNotFoundError, IncompleteSnapshotError) as error:
        raise BundleError(f"the bundle {address} can't be fetched: {failure}; {remedy}") from error
    named = names_in_manifest(cached / MANIFEST_FILE) or ()
    if missing := sorted(file for file in named if not (cached / file).exists()):  # of a download that broke off
        raise BundleError(
            f"the bundle {address} can't be fetched: {failure}, and the Hub's cache lacks {missing[0]}; {remedy}"
        )
    if not constants.is_offline_mode():
        warnings.warn(
            f"{address}: {failure}; the copy in the Hub's cache is used, which may not be the newest",
            TanzakuWarning,
            stacklevel=2,
        )
    return cached


def _is_an_answer(error: Exception) -> bool:
    """Whether the Hub refused, or this machine's disk did, as opposed to a connection that is not there."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from tanzaku.encoders.hub import OF_THE_DISK

    if isinstance(error, LocalEntryNotFoundError):  # what the client makes of a lost connection
        return False
    if isinstance(error, HfHubHTTPError):
        status = 500 if error.response is None else error.response.status_code
        return status < 500 and status not in _TRY_LATER
    return isinstance(error, OSError) and error.errno in OF_THE_DISK


def _download(api: HfApi, name: str, revision: str | None) -> Path:
    names = [file for file in _listing(api, name, revision) if file in (MANIFEST_FILE, CARD_FILE) or may_hold(file)]
    if MANIFEST_FILE not in names:
        raise BundleError(
            f"hf://{name} is not a bundle: {MANIFEST_FILE} is missing; give one that `tanzaku push` wrote"
        )
    if outside := [file for file in names if ".." in PurePosixPath(file).parts or PurePosixPath(file).is_absolute()]:
        raise BundleError(f"hf://{name} holds {outside[0]!r}, which is not a file in a bundle; nothing was fetched")
    patterns = [re.sub(r"([\[?*])", r"[\1]", file) for file in names]  # the client reads them as patterns
    return Path(api.snapshot_download(name, revision=revision, allow_patterns=patterns))


def _listing(api: HfApi, name: str, revision: str | None) -> list[str]:
    from huggingface_hub import constants

    # Not list_repo_files: that tries for half a minute when there is no network.
    about = api.model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    return [file.rfilename for file in about.siblings or ()]


def push(
    folder: str | Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> Upload:
    """Upload a bundle or an export as one commit.

    Args:
        folder: What `tanzaku pack` or `tanzaku export` wrote, or `hf://owner/name[@revision]` for a bundle on the Hub;
            its checksums are verified first.
        name: `owner/name`, a new repository unless `force` is set or it has no files yet.
        private: Make the new repository private.
        revision: The branch, made if there is none; None is the main one.
        force: Replace the bundle, export or model card that is there.
        dry_run: Only verify, and say what would be uploaded.

    Raises:
        BundleError: The bundle is damaged, there is no token, the Hub can't be reached or refuses it, or something is
            there already.
    """
    if not is_hub_id(name):
        raise BundleError(f"{name!r} is not a name on the Hub; write it as owner/name")
    require_extra("hub", purpose="the upload")
    folder = bundle_folder(folder)
    upload = _check(folder, name, revision)
    if dry_run:
        return upload
    from huggingface_hub import HfApi, constants, get_token

    if constants.is_offline_mode():
        raise BundleError("nothing was uploaded, because HF_HUB_OFFLINE is set; unset it")
    if get_token() is None:
        raise BundleError(
            f"uploading to {constants.ENDPOINT} needs a token with write access; log in with `hf auth login`, or set "
            "HF_TOKEN"
        )
    try:
        _upload(HfApi(), folder, name, upload, private=private, revision=revision, force=force)
    except BundleError:
        raise
    # As above: the client's errors are of many classes.
    except Exception as error:
        raise BundleError(f"{folder} was not uploaded to {upload.address}: {_explain(error, name)}") from error
    return upload


def _check(folder: Path, name: str, revision: str | None) -> Upload:
    """Verify what is to be uploaded, and list it."""
    from huggingface_hub import constants

    from tanzaku.ship.certificate import CERTIFICATE_FILE, read_certificate

    notes: list[str] = []
    listed: set[str] | None = None  # of an export; `open_bundle` refuses what a bundle does not list
    if (folder / CERTIFICATE_FILE).is_file() and not (folder / MANIFEST_FILE).is_file():
        sums = read_certificate(folder).files
        _verify(folder, sums)
        listed = {*sums, CERTIFICATE_FILE, CARD_FILE}
    else:
        facts = open_bundle(folder).facts
        if isinstance(facts, EncoderBundleFacts) and Path(facts.encoder.name).is_absolute():
            notes.append(_about_path(facts))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not is_litter(path)]
    chosen = {path.relative_to(folder).as_posix(): path for path in files}
    chosen = {one: path for one, path in chosen.items() if one == CARD_FILE or not is_not_checked(one)}
    for one in chosen:
        unlisted = listed is not None and one not in listed
        if unlisted or (one not in (CARD_FILE, MANIFEST_FILE) and not may_hold(one)):
            raise BundleError(f"{folder} holds {one}, which is not part of an export; remove it")
    if CARD_FILE not in chosen:
        notes.append(f"There is no model card ({CARD_FILE}), so that others can't tell what it is.")
    address = f"{constants.ENDPOINT}/{name}" + (f"/tree/{revision}" if revision else "")
    size = sum(path.stat().st_size for path in chosen.values())
    return Upload(address, tuple(chosen), size, tuple(notes))


def _verify(folder: Path, sums: Mapping[str, str]) -> None:
    """Make sure that the files of an export are those that were written."""
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file() or sha256_of_file(path) != expected:
            what = "is missing" if not path.is_file() else "has been changed or damaged since the export was made"
            raise BundleError(f"{path} {what}; make the export again")


def _about_path(facts: EncoderBundleFacts) -> str:
    path = f"bundle.json contains the encoder's folder on this machine, {facts.encoder.name}"
    if facts.whole:
        return f"{path}."
    return (
        f"{path}, which others do not have: they need the same encoder and --encoder. `tanzaku pack --with-encoder` "
        "includes it."
    )


def _upload(
    api: HfApi, folder: Path, name: str, upload: Upload, *, private: bool, revision: str | None, force: bool
) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    from tanzaku import __version__

    there = _prepare(api, name, upload, private=private, revision=revision, force=force)
    # What can't be part of a bundle, such as a licence or a picture, and the card are somebody's own.
    removed = [file for file in sorted(set(there) - set(upload.files)) if may_hold(file)]
    api.create_commit(
        name,
        operations=[
            *(CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file) for file in upload.files),
            *(CommitOperationDelete(path_in_repo=file) for file in removed),
        ],
        commit_message=f"Upload with Tanzaku {__version__}",
        revision=revision,
    )


def _prepare(api: HfApi, name: str, upload: Upload, *, private: bool, revision: str | None, force: bool) -> list[str]:
    """Make the repository and its branch, unless they exist; the files that are there."""
    from huggingface_hub import constants
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    from tanzaku.ship.certificate import CERTIFICATE_FILE

    try:
        about = api.model_info(name, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except RepositoryNotFoundError:  # or it is somebody else's, and private: then it can't be created either
        api.create_repo(name, private=private)
        about = None
    if about is not None and private and not about.private:
        raise BundleError(f"{name} exists already and is public; make it private on the Hub, or choose another name")
    try:
        there = _listing(api, name, revision)
    except RevisionNotFoundError:
        api.create_branch(name, branch=str(revision))
        return _listing(api, name, revision)  # those of the main branch, which stay there
    others = set(there) - {_KEPT}
    if not others - ({CARD_FILE} - set(upload.files)):
        return there
    ours = CERTIFICATE_FILE in others or (MANIFEST_FILE in others and _is_bundle(api, name, revision))
    if others != {CARD_FILE} and not ours:
        raise BundleError(f"{upload.address} contains something that is not a bundle or an export; choose another name")
    if not force:
        what = f"a model card ({CARD_FILE})" if others == {CARD_FILE} else "a bundle"
        raise BundleError(f"{upload.address} already contains {what}; choose another name, or use --force")
    return there


def _is_bundle(api: HfApi, name: str, revision: str | None) -> bool:
    """Whether a repository's manifest is that of a bundle; others have a file of that name too."""
    return names_in_manifest(Path(api.hf_hub_download(name, MANIFEST_FILE, revision=revision))) is not None


def _explain(error: Exception, name: str) -> str:
    """What went wrong, and what the user can do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        return _explain(error.__cause__, name)  # the client names the file, and not the reason
    hub = constants.ENDPOINT
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no detail"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status == 401:
            return f"{hub} does not accept the token; log in again with `hf auth login`, or set another HF_TOKEN"
        if status in (403, 404):
            return (
                f"the token may not write to {name} ({error.server_message or first}); use one with write access to "
                f"{name.partition('/')[0]!r}, or another owner"
            )
        return f"{hub} refused it with status {status}: {error.server_message or first}"
    if isinstance(error, ValueError):  # such as of a model card whose front matter the Hub can't read
        return " ".join(str(error).split())
    return (
        f"{hub} can't be reached ({type(error).__name__}: {first}); check the network, or set HF_ENDPOINT to a server "
        "that can be reached"
    )
