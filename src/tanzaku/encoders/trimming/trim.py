"""An encoder with a part of its vocabulary: counts pieces, cuts tokenizer and embedding, and compares both encoders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tanzaku.encoders.compact import pack_weights
from tanzaku.encoders.config import load_config
from tanzaku.encoders.export import pass_on_card
from tanzaku.encoders.files import CONFIG_FILE, Q4_FILE, SAFETENSORS_FILE
from tanzaku.encoders.load import bare_classifier, load_encoder, max_positions
from tanzaku.encoders.source import EncoderSource, files_of, read_settings, short_name
from tanzaku.encoders.tokenizer import load_tokenizer
from tanzaku.encoders.tokens import TokenizedDocuments, tokenize
from tanzaku.encoders.trimming.pieces import Characters, choose_pieces
from tanzaku.encoders.trimming.record import RECORD_FILE, HeldOut, Parity, Size, TextFacts, TrimmingRecord
from tanzaku.encoders.trimming.tokenizer import write_cut_tokenizer
from tanzaku.encoders.weights import converted, parameters_of, read_stored_weights, without_shared_memory
from tanzaku.errors import EncoderError
from tanzaku.files import atomic_folder, write_atomically
from tanzaku.provenance import now, versions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Dtype = Literal["stored", "float32", "float16"]

_PACKAGES = ("tanzaku", "torch", "transformers", "tokenizers")
_BATCH_CHARACTERS = 200_000
# Enough for shares with three digits; what is held out is kept in memory.
_HELD_OUT_CHARACTERS = 2_000_000
_COMPARED_LINES, _COMPARED_TOKENS = 16, 128
# The same sums of the same numbers, whose order may differ.
_TOLERANCE = 1e-4


def trim(
    source: EncoderSource,
    lines: Iterable[str],
    out: Path,
    *,
    texts: Sequence[TextFacts] = (),
    min_count: int = 3,
    max_pieces: int | None = None,
    characters: Characters = "japanese",
    held_out: float = 0.05,
    dtype: Dtype = "stored",
) -> TrimmingRecord:
    """Cut an encoder's vocabulary to what some texts need (Abdaoui et al. 2020, arXiv 2010.05609).

    A text whose pieces are all known and kept is tokenized as before, with the same hidden states. This is checked on
    held-out lines before anything is written, if one of them has only kept pieces.

    Args:
        source: The encoder.
        lines: The texts, line by line; read once.
        out: The new encoder's folder, new or empty. It is built next to its place and renamed.
        texts: What the record says of the files that the lines come from.
        min_count: Keep the pieces that the lines have at least so often.
        max_pieces: Of these, keep only so many, the most frequent ones.
        characters: "japanese" also keeps every piece that is one character of ASCII or JIS X 0208, so that texts with
            rare characters don't become unknown tokens; "seen" keeps only what was counted.
        held_out: The share of lines that are measured, not counted; above 0 at least one, at most 2 million characters.
        dtype: Of the written weights; "stored" leaves each tensor as it is, also in 4 bits.

    Raises:
        EncoderError: The tokenizer or the weights can't be cut, an option is out of range, the lines are empty, or the
            trimmed encoder does not compute what the original does.
        TanzakuError: Something lies in `out`.
    """
    tokenizer, config = load_tokenizer(source), load_config(source)
    counted = _count(tokenizer, lines, size=config.vocab_size, held_out=held_out)
    fixed = _fixed(config)
    kept = choose_pieces(
        tokenizer, counted.counts, min_count=min_count, max_pieces=max_pieces, characters=characters, fixed=fixed
    )
    with atomic_folder(out) as staging:
        record = TrimmingRecord(
            texts=tuple(texts),
            min_count=min_count,
            max_pieces=max_pieces,
            characters=characters,
            **_write_and_compare(source, tokenizer, kept, counted, EncoderSource(str(out), staging, ""), dtype=dtype),
        )
        write_atomically(staging / RECORD_FILE, record.model_dump_json(indent=1) + "\n")
    return record


def _write_and_compare(
    source: EncoderSource,
    tokenizer: PreTrainedTokenizerBase,
    kept: np.ndarray,
    counted: _Counted,
    trimmed: EncoderSource,
    *,
    dtype: Dtype,
) -> dict[str, Any]:
    """Write the trimmed encoder; the record's fields on both encoders and on how they differ."""
    before, after = _write(source, tokenizer, kept, trimmed.folder, dtype=dtype)
    pass_on_card(source, trimmed.folder, made=f"with `tanzaku trim`; {RECORD_FILE} has the details")
    tokens = _Compared.of(tokenizer, load_tokenizer(trimmed), counted.held_out, kept)
    return {
        "made": now(),
        "encoder": short_name(source),
        "fingerprint": source.fingerprint,
        "versions": versions(_PACKAGES),
        "lines": counted.lines,
        "before": before,
        "after": after,
        "held_out": tokens.facts() if counted.held_out else None,
        "parity": _parity(source, trimmed, tokens, dtype=dtype),
    }


@dataclass
class _Counted:
    """How often the lines have each piece, (vocabulary,) int64, and the lines that were held out."""

    counts: np.ndarray
    lines: int = 0
    held_out: list[str] = field(default_factory=list)


def _count(
    tokenizer: PreTrainedTokenizerBase,
    lines: Iterable[str],
    *,
    size: int,
    held_out: float,
) -> _Counted:
    if not 0 <= held_out <= 0.5:
        raise EncoderError(f"held_out = {held_out}; give a share between 0 and 0.5")
    counted = _Counted(np.zeros(size, dtype=np.int64))
    room = _HELD_OUT_CHARACTERS
    for batch in _batches(line for line in lines if line.strip()):
        learned = []
        for line in batch:
            counted.lines += 1
            if int(counted.lines * held_out) > int((counted.lines - 1) * held_out) and room > 0:
                counted.held_out.append(line)
                room -= len(line)
            else:
                learned.append(line)
        ids = tokenize(tokenizer, learned, max_tokens=None).ids
        counted.counts += np.bincount(ids, minlength=size)
    if not counted.lines:
        raise EncoderError(
            "the texts have no line that is not blank; give texts in the language that the encoder is for"
        )
    if held_out and not counted.held_out and counted.lines > 1:
        # So few lines that their share is none: the last one is taken back.
        counted.held_out.append(learned.pop())
        ids = tokenize(tokenizer, counted.held_out, max_tokens=None).ids
        counted.counts -= np.bincount(ids, minlength=size)
    counted.lines -= len(counted.held_out)
    return counted


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for line in lines:
        batch.append(line)
        characters += len(line)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _fixed(config: Any) -> range:
    """The ids that must stay what they are: RoBERTa and its kin count positions from the padding's id on."""
    for name, module in bare_classifier(config, labels=2).named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return range(module.padding_idx + 1)
    return range(0)


def _write(
    source: EncoderSource, tokenizer: PreTrainedTokenizerBase, kept: np.ndarray, folder: Path, *, dtype: Dtype
) -> tuple[Size, Size]:
    """Write the trimmed encoder; its size before and after."""
    weights = read_stored_weights(source)
    write_cut_tokenizer(tokenizer, source, kept, folder)
    settings = read_settings(source, CONFIG_FILE)
    rows = int(load_config(source).vocab_size)
    cut = _cut_weights(source, weights, kept, rows=rows)
    parameters_before, parameters_after = parameters_of(weights), parameters_of(cut)
    if dtype != "stored":
        cut = converted(cut, dtype=dtype)
        settings = {key: value for key, value in settings.items() if key != "torch_dtype"} | {"dtype": dtype}
    # Each block of 32 weights lies in one row, so the rows that are kept fit into 4 bits as before.
    q4 = dtype == "stored" and files_of(source).weights_format == "q4"
    settings = _renumbered(settings, {int(old): new for new, old in enumerate(kept)}) | {"vocab_size": len(kept)}
    write_atomically(folder / CONFIG_FILE, json.dumps(settings, ensure_ascii=False, indent=2) + "\n")
    save_file(
        without_shared_memory(pack_weights(cut) if q4 else cut),
        folder / (Q4_FILE if q4 else SAFETENSORS_FILE),
        metadata={"format": "pt"},
    )
    bytes_before = sum((source.folder / name).stat().st_size for name in files_of(source).names)
    bytes_after = sum(path.stat().st_size for path in folder.iterdir())
    return (
        Size(pieces=rows, parameters=parameters_before, bytes=bytes_before),
        Size(pieces=len(kept), parameters=parameters_after, bytes=bytes_after),
    )


def _cut_weights(
    source: EncoderSource, weights: dict[str, Tensor], kept: np.ndarray, *, rows: int
) -> dict[str, Tensor]:
    """The tensors with one row for each piece (the embedding, and where there is one the output layer) cut to `kept`.

    Equal sizes would hide which tensors these are, so a vocabulary as large as another dimension is refused.
    """
    others = {
        value
        for name, value in read_settings(source, CONFIG_FILE).items()
        if isinstance(value, int) and name != "vocab_size" and not name.endswith("_token_id")
    }
    if rows in others:
        raise EncoderError(f"encoder {source.name!r}: its vocabulary of {rows} pieces is too small to be cut")
    if not any(tensor.ndim == 2 and len(tensor) == rows for tensor in weights.values()):
        raise EncoderError(
            f"encoder {source.name!r}: no tensor has the {rows:,} rows of vocab_size in {CONFIG_FILE}; download it "
            "again"
        )
    index = torch.from_numpy(kept)
    cut: dict[int, Tensor] = {}  # tied tensors stay tied
    for tensor in weights.values():
        if tensor.ndim and len(tensor) == rows:
            cut.setdefault(tensor.data_ptr(), tensor[index])
    return {
        name: cut[tensor.data_ptr()] if tensor.ndim and len(tensor) == rows else tensor
        for name, tensor in weights.items()
    }


def _renumbered(settings: dict[str, Any], new_ids: dict[int, int]) -> dict[str, Any]:
    """The configuration's ids of special tokens; one that names no piece of the vocabulary is left out."""

    def one(key: str, value: Any) -> Any:
        if not key.endswith("_token_id") or not isinstance(value, int):
            return value
        return new_ids.get(value)

    renumbered = {key: one(key, value) for key, value in settings.items()}
    return {key: value for key, value in renumbered.items() if value is not None or settings[key] is None}


@dataclass(frozen=True)
class _Compared:
    """Lines as the original and the trimmed tokenizer see them."""

    lines: Sequence[str]
    before: TokenizedDocuments
    after: TokenizedDocuments
    kept: np.ndarray
    unknown: tuple[int, int]

    @classmethod
    def of(cls, old: Any, new: Any, lines: Sequence[str], kept: np.ndarray) -> _Compared:
        before, after = (tokenize(tokenizer, lines, max_tokens=None) for tokenizer in (old, new))
        return cls(lines, before, after, kept, (old.unk_token_id, new.unk_token_id))

    def facts(self) -> HeldOut:
        ends = 2 * len(self.lines)
        before, after = len(self.before.ids) - ends, len(self.after.ids) - ends
        inside = int(np.isin(self.before.ids, self.kept).sum()) - ends
        return HeldOut(
            lines=len(self.lines),
            characters=sum(map(len, self.lines)),
            tokens_before=before,
            tokens=after,
            coverage=inside / max(1, before),
            unknown_before=int((self.before.ids == self.unknown[0]).sum()) / max(1, before),
            unknown=int((self.after.ids == self.unknown[1]).sum()) / max(1, after),
        )

    def unchanged(self) -> list[int]:
        """The lines that have only kept pieces; each must be the same tokens as before.

        A line with an unknown token need not be: WordPiece gives a word up as unknown where the longest first piece
        leaves a rest without a piece, and without that first piece, it may find others.

        Raises:
            EncoderError: One without an unknown token is not.
        """
        lines = []
        for index in range(len(self.lines)):
            if not np.isin(self.before[index], self.kept).all():
                continue
            if np.array_equal(self.kept[self.after[index]], self.before[index]):
                lines.append(index)
            elif self.unknown[0] not in self.before[index]:
                raise EncoderError(
                    f"with the kept pieces the tokenizer cuts {self.lines[index][:40]!r} in another way than before, "
                    "though all its pieces are kept; this kind of tokenizer can't be trimmed"
                )
        return lines


def _parity(source: EncoderSource, trimmed: EncoderSource, tokens: _Compared, *, dtype: Dtype) -> Parity | None:
    lines = tokens.unchanged()
    if not lines:
        return None
    compared = lines[:_COMPARED_LINES]
    longest = min(_COMPARED_TOKENS, max_positions(load_config(source)) or _COMPARED_TOKENS)
    states = [
        _states(encoder, [ids[index][:longest] for index in compared], dtype=dtype)
        for encoder, ids in ((source, tokens.before), (trimmed, tokens.after))
    ]
    difference = max(float((a - b).abs().max()) for a, b in zip(*states, strict=True))
    if not difference <= _TOLERANCE:
        raise EncoderError(
            f"with the kept pieces the hidden states of encoder {source.name!r} differ by {difference:.2g} from those "
            "before, though the tokens are the same; this kind of encoder can't be trimmed"
        )
    return Parity(lines=len(lines), states_lines=len(compared), largest_difference=difference)


@torch.inference_mode()
def _states(source: EncoderSource, documents: Sequence[np.ndarray], *, dtype: Dtype) -> list[Tensor]:
    """The last hidden states of each document, one at a time, (tokens, hidden) float32 each.

    The weights are rounded to `dtype` first, so that an encoder compares with one that was written in it.
    """
    model = load_encoder(source)
    if dtype != "stored":
        model.to(getattr(torch, dtype)).float()
    return [
        model(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0]  # (tokens, hidden)
        for ids in documents
    ]
