"""Which pieces of a vocabulary are kept, so that texts made of kept pieces are tokenized as before."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from typing import Any, Literal, get_args

import numpy as np
from tokenizers.decoders import ByteLevel
from transformers import BertJapaneseTokenizer, PreTrainedTokenizerBase

from tanzaku.encoders.fit import GOLDEN_SENTENCES, IPADIC_WORDS
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.errors import EncoderError

Characters = Literal["japanese", "seen"]
CHARACTERS: tuple[Characters, ...] = get_args(Characters)

# What a piece may begin with that is no character of the text: SentencePiece's word boundary, WordPiece's continuation.
_MARKERS = ("▁", "##")
_BYTES = {f"<0x{byte:02X}>" for byte in range(256)}


def choose_pieces(
    tokenizer: PreTrainedTokenizerBase,
    counts: np.ndarray,
    *,
    min_count: int,
    max_pieces: int | None,
    characters: Characters,
    fixed: Collection[int] = (),
) -> np.ndarray:
    """The ids of the pieces to keep, in ascending order, (kept,) int64.

    Kept in any case are the special and added tokens and what the tokenizer's algorithm needs: byte pieces, the base
    alphabet and the intermediate merges of a BPE, and the least likely piece of a Unigram model, whose score sets that
    of unknown characters. So are the pieces by which `tanzaku.encoders.fit` knows whether the tokenizer fits.

    Args:
        tokenizer: The encoder's.
        counts: How often the texts have each piece, (vocabulary,) int64.
        min_count: Keep the pieces with at least this count.
        max_pieces: Of these keep so many at most, the most frequent ones; the pieces that are kept in any case are not
            counted.
        characters: "japanese" also keeps every piece that is one character of ASCII or JIS X 0208; "seen" only what
            was counted.
        fixed: Ids that must be kept too.

    Raises:
        EncoderError: `max_pieces` or `min_count` is out of range, or the tokenizer is of a kind that can't be cut.
    """
    if min_count < 1:
        raise EncoderError(f"min_count = {min_count}; give 1 or more")
    if max_pieces is not None and max_pieces < 1:
        raise EncoderError(f"max_pieces = {max_pieces}; give 1 or more")
    needed = {*fixed, *needed_pieces(tokenizer)}
    frequent = np.flatnonzero(counts >= min_count)
    if max_pieces is not None:
        frequent = frequent[~np.isin(frequent, sorted(needed))]
        frequent = frequent[np.argsort(-counts[frequent], kind="stable")[:max_pieces]]
    vocabulary = tokenizer.get_vocab()
    kept = {*frequent.tolist(), *needed}
    if characters == "japanese":
        kept |= {index for piece, index in vocabulary.items() if _is_japanese_character(_text_of(tokenizer, piece))}
    return np.array(sorted(_closed(tokenizer, kept)), dtype=np.int64)


def needed_pieces(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The ids without which the tokenizer does not work, or is not checked, as before; see `choose_pieces`."""
    vocabulary = tokenizer.get_vocab()
    needed = {*tokenizer.all_special_ids, *tokenizer.added_tokens_encoder.values()}
    needed |= {vocabulary[piece] for piece in (_BYTES | set(IPADIC_WORDS)) & vocabulary.keys()}
    with quiet_transformers():
        for sentence in GOLDEN_SENTENCES:
            needed.update(tokenizer(sentence)["input_ids"])
    if isinstance(tokenizer, BertJapaneseTokenizer):
        if not hasattr(tokenizer, "vocab"):  # transformers sets it for every other type of subwords
            raise EncoderError(
                "the vocabulary of a BertJapaneseTokenizer with SentencePiece can't be cut; choose an encoder with "
                "WordPiece or characters"
            )
        return needed
    model = backend(tokenizer)["model"]
    match model["type"]:
        case "Unigram":
            scores = [score for _, score in model["vocab"]]
            return {*needed, model["unk_id"] or 0, int(np.argmin(scores))}
        case "BPE":
            from tokenizers.pre_tokenizers import ByteLevel

            alphabet = {*ByteLevel.alphabet(), model.get("unk_token")} & model["vocab"].keys()
            return needed | {model["vocab"][piece] for piece in alphabet}
    return needed


def backend(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The content of `tokenizer.json`.

    Raises:
        EncoderError: The tokenizer has none, or its model is of another kind than Unigram, BPE and WordPiece.
    """
    fast = getattr(tokenizer, "backend_tokenizer", None)
    content: dict[str, Any] | None = json.loads(fast.to_str()) if fast is not None else None
    if content is None or content["model"]["type"] not in {"Unigram", "BPE", "WordPiece"}:
        raise EncoderError(
            f"the vocabulary of a {type(tokenizer).__name__} can't be cut; choose an encoder with a tokenizer.json "
            "(Unigram, BPE or WordPiece) or with BertJapaneseTokenizer"
        )
    return content


def merge_pairs(model: dict[str, Any]) -> list[tuple[str, str]]:
    """The merges of a BPE, in the order of their rank."""
    pairs = (pair if isinstance(pair, list) else pair.split(" ", 1) for pair in model["merges"])
    return [(left, right) for left, right in pairs]


def merged_piece(model: dict[str, Any], pair: tuple[str, str]) -> str:
    """What a merge makes of its two pieces."""
    return pair[0] + pair[1].removeprefix(model.get("continuing_subword_prefix") or "")


def _closed(tokenizer: PreTrainedTokenizerBase, kept: set[int]) -> set[int]:
    """With all pieces from which a BPE may put kept ones together.

    A text whose pieces are all kept then meets exactly the merges that it met before: each merge on the way to a kept
    piece makes a piece of this closure, and its merge is kept too.
    """
    if isinstance(tokenizer, BertJapaneseTokenizer) or backend(tokenizer)["model"]["type"] != "BPE":
        return kept
    model = backend(tokenizer)["model"]
    parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for pair in merge_pairs(model):
        parts[merged_piece(model, pair)].append(pair)
    names = {index: piece for piece, index in model["vocab"].items()}
    closed, open_ = set(kept), [names[index] for index in kept if index in names]
    while open_:
        for pair in parts[open_.pop()]:
            for piece in pair:
                if model["vocab"][piece] not in closed:
                    closed.add(model["vocab"][piece])
                    open_.append(piece)
    return closed


def _text_of(tokenizer: PreTrainedTokenizerBase, piece: str) -> str:
    """What a piece stands for: byte-level BPE spells each byte as a character of its own."""
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    return decoder.decode([piece]) if isinstance(decoder, ByteLevel) else piece


def _is_japanese_character(piece: str) -> bool:
    for marker in _MARKERS:
        piece = piece.removeprefix(marker)
    if len(piece) != 1:
        return False
    try:
        piece.encode("shift_jis")  # ASCII, half-width katakana and JIS X 0208
    except UnicodeEncodeError:
        return False
    return True
