"""Token ids on disk, by content: an entry is a folder that is whole or absent."""

import contextlib
import hashlib
import json
import shutil
import uuid
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tanzaku.data.download import cache_folder
from tanzaku.errors import TanzakuWarning
from tanzaku.files import sha256_of_file, sync_directory, sync_file

_FORMAT = "tanzaku-tokens-2"
_ARRAYS = {"ids": np.dtype(np.int32), "offsets": np.dtype(np.int64)}
_MANIFEST = "manifest.json"
_PUT_ATTEMPTS = 3
# A new version of any of these may cut a text otherwise.
_PACKAGES = (
    *("transformers", "tokenizers", "sentencepiece"),
    *("fugashi", "ipadic", "unidic-lite", "unidic"),
    *("sudachipy", "sudachidict-small", "sudachidict-core", "sudachidict-full", "rhoknp"),
)


def tokens_folder() -> Path:
    """Where the entries lie: `tokens` in Tanzaku's cache. Deleting it costs no more than the time to make them."""
    return cache_folder() / "tokens"


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256, in hexadecimal, over all that decides the ids: class, vocabulary, settings and package versions."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    pieces = getattr(getattr(tokenizer, "subword_tokenizer", tokenizer), "sp_model", None)
    content = {
        "class": f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}",
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "settings": {
            name: repr(value)
            for name, value in sorted(tokenizer.init_kwargs.items())
            # Where the files lie decides nothing, what is in them does.
            if not name.endswith("_file") and name != "name_or_path"
        },
        "added": sorted((index, repr(token)) for index, token in tokenizer.added_tokens_decoder.items()),
        "special": repr(tokenizer.special_tokens_map),
        "truncation_side": tokenizer.truncation_side,
        "backend": _backend(fast) if fast is not None else None,
        "sentencepiece": hashlib.sha256(pieces.serialized_model_proto()).hexdigest() if pieces is not None else None,
        "versions": [_version(package) for package in _PACKAGES],
    }
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def entry_name(tokenizer: Any, texts: Sequence[str], *, max_tokens: int | None, key: str) -> str:
    """The entry's folder name: a SHA-256, in hexadecimal, over everything that decides the ids.

    `max_tokens` is None for whole documents, whose entry serves every length that is cut from them.
    """
    digest = hashlib.sha256()
    for field in (_FORMAT, key, tokenizer_fingerprint(tokenizer), str(max_tokens), *texts):
        encoded = field.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def read_entry(name: str, *, documents: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(ids, offsets) of an entry, mapped from the disk; None where it is missing or damaged."""
    folder = tokens_folder() / name
    if not _is_whole(folder):
        return None
    try:
        ids, offsets = (np.load(folder / f"{array}.npy", mmap_mode="r", allow_pickle=False) for array in _ARRAYS)
    except (OSError, ValueError):
        return None
    if ids.dtype != _ARRAYS["ids"] or offsets.dtype != _ARRAYS["offsets"] or offsets.shape != (documents + 1,):
        return None
    return ids, offsets


def write_entry(name: str, ids: np.ndarray, offsets: np.ndarray) -> None:
    """Write an entry under a temporary name, then rename it. If the cache can't be written, warn and continue."""
    root = tokens_folder()
    staging = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        staging = root / f".new-{uuid.uuid4().hex}"
        staging.mkdir()  # with the usual mode, since others may share the cache
        sums = {
            array: _save(staging / f"{array}.npy", values) for array, values in (("ids", ids), ("offsets", offsets))
        }
        (staging / _MANIFEST).write_text(json.dumps({"format": _FORMAT} | sums) + "\n", encoding="utf-8")
        sync_file(staging / _MANIFEST)
        _put(staging, root / name)
        sync_directory(root)
    except OSError as error:
        warnings.warn(
            f"the token cache {root} can't be written ({error}); going on without", TanzakuWarning, stacklevel=3
        )
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _save(path: Path, values: np.ndarray) -> str:
    np.save(path, values, allow_pickle=False)
    sync_file(path)
    return sha256_of_file(path)


def _put(staging: Path, folder: Path) -> None:
    """Give the new entry its name, unless another process has just made the same; a damaged one makes way."""
    for _ in range(_PUT_ATTEMPTS):
        try:
            staging.rename(folder)
            return
        except OSError:
            if not folder.exists():
                raise
        if _is_whole(folder):
            return
        old = folder.with_name(f".old-{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):  # another process has moved it away first
            folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    raise OSError(f"{folder} is in the way")


def _is_whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return all(sha256_of_file(folder / f"{array}.npy") == manifest[array] for array in _ARRAYS)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _backend(fast: Any) -> str:
    """The tokenizers library's own description, without truncation and padding, which calls change as they go."""
    description = json.loads(fast.to_str())
    return json.dumps(description | {"truncation": None, "padding": None}, ensure_ascii=False)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
