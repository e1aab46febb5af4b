"""Writes a tokenizer with a part of its vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BertJapaneseTokenizer, PreTrainedTokenizerBase

from tanzaku.encoders.source import EncoderSource
from tanzaku.encoders.tokenizer import copy_tokenizer, save_tokenizer
from tanzaku.encoders.trimming.pieces import backend, merge_pairs, merged_piece


def write_cut_tokenizer(
    tokenizer: PreTrainedTokenizerBase, source: EncoderSource, kept: np.ndarray, folder: Path
) -> None:
    """Write the tokenizer's files with only the pieces `kept`, (kept,) int64 in ascending order, which get new ids.

    The new id of a piece is its index in `kept`.
    """
    new_ids = {int(old): new for new, old in enumerate(kept)}
    if isinstance(tokenizer, BertJapaneseTokenizer):
        _write_japanese(tokenizer, source, new_ids, folder)
        return
    from tokenizers import Tokenizer

    content = backend(tokenizer)
    _cut_model(content["model"], new_ids)
    content["added_tokens"] = [token | {"id": new_ids[token["id"]]} for token in content["added_tokens"]]
    content["post_processor"] = _renumbered(content["post_processor"], new_ids)
    content["padding"] = content["truncation"] = None
    fast: Any = tokenizer
    before = fast._tokenizer
    fast._tokenizer = Tokenizer.from_str(json.dumps(content))
    try:
        save_tokenizer(tokenizer, folder)
    finally:
        fast._tokenizer = before


def _cut_model(model: dict[str, Any], new_ids: dict[int, int]) -> None:
    """Cut Unigram, BPE or WordPiece in place. Added tokens may have ids beyond the model's own vocabulary."""
    if model["type"] == "Unigram":
        model["vocab"] = [entry for index, entry in enumerate(model["vocab"]) if index in new_ids]
        if model["unk_id"] is not None:
            model["unk_id"] = new_ids[model["unk_id"]]
        return
    model["vocab"] = {piece: new_ids[index] for piece, index in model["vocab"].items() if index in new_ids}
    if model["type"] == "BPE":
        model["merges"] = [
            list(pair) for pair in merge_pairs(model) if {*pair, merged_piece(model, pair)} <= model["vocab"].keys()
        ]


def _renumbered(part: Any, new_ids: dict[int, int]) -> Any:
    """A post-processor with new ids: `ids` of templates, and [token, id] of BERT's and RoBERTa's processors."""
    if isinstance(part, list):
        return [_renumbered(one, new_ids) for one in part]
    if not isinstance(part, dict):
        return part
    renumbered = {}
    for key, value in part.items():
        if key == "ids":
            renumbered[key] = [new_ids[index] for index in value]
        elif key in {"sep", "cls"} and isinstance(value, list):
            renumbered[key] = [value[0], new_ids[value[1]]]
        else:
            renumbered[key] = _renumbered(value, new_ids)
    return renumbered


def _write_japanese(
    tokenizer: BertJapaneseTokenizer, source: EncoderSource, new_ids: dict[int, int], folder: Path
) -> None:
    copy_tokenizer(source, folder)
    names = {index: piece for piece, index in tokenizer.vocab.items()}
    pieces = [names[old] for old in new_ids if old in names]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        content = json.loads(settings.read_text(encoding="utf-8"))
        if "added_tokens_decoder" in content:
            added = content["added_tokens_decoder"].items()
            content["added_tokens_decoder"] = {str(new_ids[int(old)]): token for old, token in added}
        settings.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if (added := folder / "added_tokens.json").is_file():
        tokens = json.loads(added.read_text(encoding="utf-8"))
        added.write_text(json.dumps({token: new_ids[old] for token, old in tokens.items()}), encoding="utf-8")
