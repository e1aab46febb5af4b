"""An encoder as a folder of its own: for transformers in float16 or float32, or in 4 bits to be carried."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor

from tanzaku.encoders.card import CARD_FILE, is_hub_id, license_files, read_card, read_terms
from tanzaku.encoders.compact import Q4_IS_FOR, has_four_bits, pack_weights
from tanzaku.encoders.files import CONFIG_FILE, Q4_FILE, SAFETENSORS_FILE
from tanzaku.encoders.source import EncoderSource, files_of, read_settings, short_name
from tanzaku.encoders.tokenizer import copy_tokenizer
from tanzaku.encoders.weights import converted, parameters_of, read_stored_weights, without_shared_memory
from tanzaku.errors import EncoderError
from tanzaku.files import atomic_folder, write_atomically

ExportDtype = Literal["float16", "float32", "q4"]

# What people read of an encoder, and how it was made.
_PAPERS = (CARD_FILE, "trimming.json", "record.json")


@dataclass(frozen=True)
class Exported:
    """The bytes of the encoder's files before and after, and its parameters."""

    bytes_before: int
    bytes_after: int
    parameters: int


def export_encoder(source: EncoderSource, out: Path, *, dtype: ExportDtype = "float16") -> Exported:
    """Write an encoder's config, tokenizer, weights, model card and licence to a new folder.

    Args:
        source: The encoder, in any format that Tanzaku reads.
        out: New or empty; it is built next to its place and renamed.
        dtype: Of the weights. Folders in "float16" and "float32" open in transformers with `AutoModel` and
            `AutoTokenizer`; one in "q4" (see `tanzaku.encoders.compact`) opens only in Tanzaku.

    Raises:
        EncoderError: The weights are damaged, or `dtype` can't hold them: "q4", at least one matrix.
        TanzakuError: Something lies in `out`.
    """
    files = files_of(source)
    weights = read_stored_weights(source)
    written = _in_four_bits(source, weights) if dtype == "q4" else converted(weights, dtype=dtype)
    settings = {key: value for key, value in read_settings(source, CONFIG_FILE).items() if key != "torch_dtype"}
    settings["dtype"] = "float32" if dtype == "float32" else "float16"
    with atomic_folder(out) as folder:
        write_atomically(folder / CONFIG_FILE, json.dumps(settings, ensure_ascii=False, indent=2) + "\n")
        copy_tokenizer(source, folder)
        for name in (*(name for name in _PAPERS if (source.folder / name).is_file()), *license_files(source.folder)):
            shutil.copyfile(source.folder / name, folder / name)
        save_file(
            without_shared_memory(written),
            folder / (Q4_FILE if dtype == "q4" else SAFETENSORS_FILE),
            metadata={"format": "pt"},
        )
        after = sum(path.stat().st_size for path in folder.iterdir())
    return Exported(
        bytes_before=sum((source.folder / name).stat().st_size for name in files.names),
        bytes_after=after,
        parameters=parameters_of(weights),
    )


def _in_four_bits(source: EncoderSource, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    packed = pack_weights(weights)
    if not has_four_bits(packed):
        raise EncoderError(
            f"encoder {source.name!r}: no matrix can be stored in q4 without loss, so nothing would be saved; "
            f"{Q4_IS_FOR}"
        )
    return packed


def pass_on_card(source: EncoderSource, folder: Path, *, made: str) -> None:
    """Give an encoder that was made from another the other's terms, and a card that names both.

    Args:
        source: The other encoder.
        folder: Of the new one.
        made: How it was made, in words.
    """
    from huggingface_hub import ModelCardData

    for name in license_files(source.folder):
        shutil.copyfile(source.folder / name, folder / name)
    name = short_name(source)
    base = name if is_hub_id(name) else read_card(source.folder).base_model
    terms: dict[str, Any] = {**read_terms(source.folder)}
    data = ModelCardData(library_name="transformers", base_model=base, **terms)
    content = f"---\n{data.to_yaml(line_break=chr(10))}\n---\n\nMade from {name} {made}.\n"
    write_atomically(folder / CARD_FILE, content)
