"""The files of a checkpoint that Tanzaku reads: config, tokenizer and one format of the weights."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tanzaku.errors import EncoderError

CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
# Another name than safetensors' own: only `tanzaku.encoders.compact` reads what is in it.
Q4_FILE = "model.q4.safetensors"

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
    "q4": (Q4_FILE, "model.q4.safetensors.index.json", r"model-\d{5}-of-\d{5}\.q4\.safetensors"),
    "safetensors": (SAFETENSORS_FILE, "model.safetensors.index.json", r"model-\d{5}-of-\d{5}\.safetensors"),
    "pytorch": ("pytorch_model.bin", "pytorch_model.bin.index.json", r"pytorch_model-\d{5}-of-\d{5}\.bin"),
}
_FOREIGN_WEIGHTS = re.compile(r"(tf_model|flax_model|rust_model|model\.ckpt|.*\.(onnx|gguf|h5|msgpack|ot)$)")


@dataclass(frozen=True)
class EncoderFiles:
    """The files of a checkpoint that Tanzaku reads, as names in its folder; `weights` are of only one format."""

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


def select_files(names: Iterable[str], *, where: str) -> EncoderFiles:
    """Choose, among a folder's or a repository's file names, the config, the tokenizer and one format of the weights.

    Raises:
        EncoderError: The config or the weights are not among them; `where` begins the message.
    """
    present = set(names)
    if CONFIG_FILE not in present:
        raise EncoderError(
            f"{where} has no {CONFIG_FILE}, so it is not a Hugging Face checkpoint; give a folder that "
            f"contains {CONFIG_FILE}, the weights and the files of the tokenizer"
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
        raise EncoderError(f"{path} is not an index of weight files ({error!r}); download the encoder again") from error
    for name in names:
        # A name such as ../../secret must not lead out of the folder.
        if not isinstance(name, str) or not re.fullmatch(shard, name):
            raise EncoderError(
                f"{path} lists {name!r}, which is not a weight file next to it; download the encoder again"
            )
    return tuple(names)
