"""An encoder's tokenizer as `tanzaku.runtime` reads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tanzaku.encoders.words import WordIds
from tanzaku.errors import BundleError
from tanzaku.runtime.mecab import DICTIONARY_PACKAGES
from tanzaku.runtime.settings import TOKENIZER_FILE, VOCABULARY_FILE, JsonSettings, MecabSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, vocabulary: Path, folder: Path) -> MecabSettings | JsonSettings:
    """Write a tokenizer's files into `folder`, and say how they are read.

    Args:
        tokenizer: The encoder's.
        vocabulary: Its `vocab.txt`, if it has one.
        folder: New.

    Raises:
        BundleError: The runtime has no such tokenizer.
    """
    folder.mkdir()
    if tokenizer.is_fast:
        from tokenizers import Tokenizer

        copied = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())  # not to change that one
        copied.no_padding()
        copied.no_truncation()
        copied.save(str(folder / TOKENIZER_FILE))
        return JsonSettings()
    settings = _mecab_settings(tokenizer)
    shutil.copyfile(vocabulary, folder / VOCABULARY_FILE)
    return settings


def _mecab_settings(tokenizer: Any) -> MecabSettings:
    options: dict[str, Any] = dict(getattr(tokenizer, "mecab_kwargs", None) or {})
    dictionary: Any = options.get("mecab_dic")
    added = tokenizer.added_tokens_decoder.values()
    usual = (
        WordIds.of(tokenizer) is not None
        and tokenizer.word_tokenizer_type == "mecab"
        and dictionary in DICTIONARY_PACKAGES
        and not options.get("mecab_option")
        and not any(token.lstrip or token.rstrip or token.single_word for token in added)
        and not (tokenizer.word_tokenizer.never_split and tokenizer.word_tokenizer.do_lower_case)
    )
    if not usual:
        raise BundleError(
            f"the encoder's tokenizer ({type(tokenizer).__name__}) can't work without transformers; those that can are "
            "the fast ones (tokenizer.json), and BertJapaneseTokenizer with MeCab and its own dictionaries"
        )
    words, pieces = tokenizer.word_tokenizer, tokenizer.subword_tokenizer
    return MecabSettings(
        dictionary=dictionary,
        normalize=words.normalize_text,
        lowercase=words.do_lower_case,
        pieces=tokenizer.subword_tokenizer_type,
        longest_word=getattr(pieces, "max_input_chars_per_word", 0),
        unknown=tokenizer.unk_token,
        first=tokenizer.cls_token,
        last=tokenizer.sep_token,
        special=dict(tokenizer.added_tokens_encoder),
    )
