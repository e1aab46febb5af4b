"""Where an encoder comes from: a local folder, the Hugging Face hub or its cache, or the package itself."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tanzaku.errors import EncoderError
from tanzaku.files import sha256_of_file

EMBEDDED_NAME = "tanzaku-mini"
CONFIG_FILE = "config.json"

_EMBEDDED_FOLDER = Path(__file__).parent / "mini"
_TOKENIZER_FILES = {
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
}
_VOCABULARY_FILES = {"tokenizer.json", "vocab.json", "vocab.txt"}
_SENTENCEPIECE_SUFFIXES = (".model", ".spm")
# In the order of preference; each format as (whole file, index of the shards, a shard).
_WEIGHT_FORMATS = {
    "safetensors": ("model.safetensors", "model.safetensors.index.json", r"model-\d{5}-of-\d{5}\.safetensors"),
    "pytorch": ("pytorch_model.bin", "pytorch_model.bin.index.json", r"pytorch_model-\d{5}-of-\d{5}\.bin"),
}
_FOREIGN_WEIGHTS = re.compile(r"(tf_model|flax_model|rust_model|model\.ckpt|.*\.(onnx|gguf|h5|msgpack|ot)$)")
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class EncoderSource:
    """An encoder that lies on this machine.

    `name` finds it from every folder: a hub id as the user gave it, or a local folder's absolute path; `folder` holds
    config, weights and tokenizer; `fingerprint` is the SHA-256, in hexadecimal, over the names and contents of those
    files: equal encoders, equal fingerprint.
    """

    name: str
    folder: Path
    fingerprint: str


@dataclass(frozen=True)
class EncoderFiles:
    """The files of a checkpoint that Tanzaku reads, as names in its folder; `weights` are of one format alone."""

    weights_format: str
    weights: tuple[str, ...]
    tokenizer: tuple[str, ...]

    @property
    def has_vocabulary(self) -> bool:
        """Whether a tokenizer can be built from them."""
        return any(name in _VOCABULARY_FILES or name.endswith(_SENTENCEPIECE_SUFFIXES) for name in self.tokenizer)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in name order."""
        return tuple(sorted({CONFIG_FILE, *self.weights, *self.tokenizer}))


def resolve_encoder(name: str, *, revision: str | None = None) -> EncoderSource:
    """Find an encoder, and fetch it from the hub where it must be.

    Args:
        name: A local folder, a hub id (`owner/name`, or an old name without an owner), or `tanzaku-mini`.
        revision: Branch, tag or commit on the hub; None is its main branch.

    Raises:
        EncoderError: It is none of these, can't be reached, or is incomplete.
    """
    name = absolute_name(name)
    folder = _folder_of(name, revision=revision)
    files = select_files([path.name for path in folder.iterdir()], where=f"encoder {name!r} ({folder})")
    _check_whole(folder, files)
    return EncoderSource(name=name, folder=folder, fingerprint=_fingerprint(folder, files))


def absolute_name(name: str) -> str:
    """A name that finds the same encoder from every folder: a local folder's absolute path; any other name as it is."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if name and name != EMBEDDED_NAME and folder.is_dir() else name


def has_embedded() -> bool:
    """Whether `tanzaku-mini` is part of this installation."""
    return (_EMBEDDED_FOLDER / CONFIG_FILE).is_file()


def select_files(names: Iterable[str], *, where: str) -> EncoderFiles:
    """Choose, among a folder's or a repository's file names, the config, the tokenizer and one format of the weights.

    Raises:
        EncoderError: The config or the weights are not among them; `where` begins the message.
    """
    present = set(names)
    if CONFIG_FILE not in present:
        raise EncoderError(
            f"{where} has no {CONFIG_FILE}, so it is no Hugging Face checkpoint; name a folder that holds "
            f"{CONFIG_FILE}, the weights and the tokenizer's files side by side"
        )
    tokenizer = {name for name in present if name in _TOKENIZER_FILES or name.endswith(_SENTENCEPIECE_SUFFIXES)}
    for weights_format, (whole, index, shard) in _WEIGHT_FORMATS.items():
        if whole in present:
            return EncoderFiles(weights_format, (whole,), tuple(sorted(tokenizer)))
        if index in present:
            shards = {name for name in present if re.fullmatch(shard, name)}
            return EncoderFiles(weights_format, tuple(sorted({index, *shards})), tuple(sorted(tokenizer)))
    foreign = sorted(name for name in present if _FOREIGN_WEIGHTS.match(name))
    found = f"it has {', '.join(foreign)}, which Tanzaku does not read" if foreign else "it has none at all"
    raise EncoderError(
        f"{where} has no weights in model.safetensors or pytorch_model.bin: {found}; "
        "convert them with transformers' save_pretrained, or choose another encoder"
    )


def files_of(source: EncoderSource) -> EncoderFiles:
    """The files of a resolved encoder."""
    return select_files([path.name for path in source.folder.iterdir()], where=f"encoder {source.name!r}")


def read_settings(source: EncoderSource, file_name: str) -> dict[str, Any]:
    """A JSON file of the encoder, as it stands; empty where the encoder has no such file.

    Raises:
        EncoderError: It is no JSON object.
    """
    path = source.folder / file_name
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} can't be read as JSON ({error}); fetch the encoder anew") from error
    if not isinstance(settings, dict):
        raise EncoderError(f"{path} holds no JSON object; fetch the encoder anew")
    return settings


def shard_names(folder: Path, files: EncoderFiles) -> tuple[str, ...]:
    """The files that hold the tensors: the one file, or the shards that the index names.

    Raises:
        EncoderError: The index is damaged, or names a file that is not a shard.
    """
    _, index, shard = _WEIGHT_FORMATS[files.weights_format]
    if index not in files.weights:
        return files.weights
    path = folder / index
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(f"{path} is no index of weight files ({error!r}); fetch the encoder anew") from error
    for name in names:
        # A name such as ../../secret must not lead out of the folder.
        if not isinstance(name, str) or not re.fullmatch(shard, name):
            raise EncoderError(f"{path} names {name!r}, which is no weight file beside it; fetch the encoder anew")
    return tuple(names)


def _folder_of(name: str, *, revision: str | None) -> Path:
    if name == EMBEDDED_NAME:
        if not has_embedded():
            raise EncoderError(
                f"the embedded encoder {EMBEDDED_NAME!r} is not part of this installation; "
                "name a local folder or a hub id such as tohoku-nlp/bert-base-japanese"
            )
        return _EMBEDDED_FOLDER
    folder = Path(name)
    if folder.is_absolute() and folder.is_dir():
        return folder
    from tanzaku.encoders.hub import fetch  # the hub's client is slow to import, and a local folder needs none

    return fetch(name, revision=revision)


def _check_whole(folder: Path, files: EncoderFiles) -> None:
    """Find what an interrupted copy, or a `git clone` without LFS, leaves behind."""
    for name in shard_names(folder, files):
        path = folder / name
        if not path.is_file():
            raise EncoderError(f"{path} is missing, though the index beside it names it; fetch the encoder anew")
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
