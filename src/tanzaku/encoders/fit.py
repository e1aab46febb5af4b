"""Does a tokenizer fit its vocabulary? A wrong one loads in silence and costs accuracy, so it is asked to work."""

import itertools
import re
import warnings
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.tokens import text_encoder
from tanzaku.errors import EncoderError, TanzakuWarning

# Plain sentences of our own: every Japanese vocabulary has most of their words, or at least their characters.
GOLDEN_SENTENCES = (
    "山に行くと、空に白い雲が見える。",
    "海には魚がいて、島には鳥がいる。",
    "朝は雨だったが、夜には星が出て、風が木を揺らした。",
    "新しい映画を友だちと見る。",
)

_MAX_UNKNOWN_SHARE = 0.5
# Over half of the pieces going on inside a word: on these sentences, MeCab with WordPiece stays under a quarter.
_MAX_CONTINUED_SHARE = 0.5
_KANJI_WORD = re.compile(r"[\u4e00-\u9fff]{2,}")
# A vocabulary of characters has a few odd entries of two; one of words has thousands.
_MIN_KANJI_WORDS = 20
_PROBED_WORDS = 200
# IPADIC has these as one word each; UniDic splits them (に|つい|て), so its vocabularies can't contain them.
IPADIC_WORDS = ("について", "として", "という", "によって", "における", "に対して", "といった", "とともに")
# A vocabulary that is smaller may lack them for its size alone.
_MIN_TELLING_VOCABULARY = 5_000
# Fewer tokens than any golden sentence has, and more than any has.
_FEW_TOKENS, _NO_LIMIT = 4, 512


def fit_checks(
    tokenizer: PreTrainedTokenizerBase, *, embedding_rows: int, config_pad_id: int | None, where: str
) -> dict[str, Callable[[], str]]:
    """Checks that make the tokenizer work on `GOLDEN_SENTENCES`, on an empty text and on its own vocabulary.

    Args:
        tokenizer: The tokenizer.
        embedding_rows: How many token ids the encoder has a vector for.
        config_pad_id: The padding's id in the encoder's configuration; None where it names none.
        where: Begins the messages: the encoder.

    Returns:
        The checks by name, to be done in this order: each says what it saw, or raises an `EncoderError`. The tokenizer
        lacks special tokens or does not put texts between them, pads with another token or has more tokens than the
        encoder, or cuts text in a way that the vocabulary was not made for.
    """
    return {
        "special tokens": lambda: _check_special_tokens(tokenizer, where),
        "padding": lambda: _check_padding(tokenizer, config_pad_id, where),
        "vocabulary": lambda: _check_vocabulary(tokenizer, embedding_rows, where),
        "golden sentences": lambda: _check_golden_sentences(tokenizer, where),
        "ends": lambda: _check_ends(tokenizer, where),
    }


def document_ends(tokenizer: Any) -> tuple[int, int]:
    """The ids of the first and the last token that a tokenizer which passed `fit_checks` adds to every text."""
    first, last = tokenizer("")["input_ids"]
    return first, last


def golden_pieces(tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    """The tokens of each golden sentence, without the special ones at its ends."""
    with quiet_transformers():  # of encoders with few positions: the sentences go through none
        ids = [tokenizer(sentence, add_special_tokens=False)["input_ids"] for sentence in GOLDEN_SENTENCES]
    return [tokenizer.convert_ids_to_tokens(sentence) for sentence in ids]


def unknown_share(tokenizer: PreTrainedTokenizerBase) -> float:
    """The share of the golden sentences' tokens that are [UNK], between 0 and 1; 1 where there are no tokens."""
    # Sentencepiece opens a sentence with a bare "▁", which says nothing about the words.
    pieces = [piece for piece in itertools.chain(*golden_pieces(tokenizer)) if piece != "▁"]
    return sum(piece == tokenizer.unk_token for piece in pieces) / len(pieces) if pieces else 1.0


def dictionary_of_vocabulary(vocabulary: Collection[str]) -> str | None:
    """`"ipadic"` or `"unidic_lite"`, by which MeCab dictionary the words were cut; None where that can't be told."""
    if not any(piece.startswith("##") for piece in vocabulary):
        return None
    found = sum(word in vocabulary for word in IPADIC_WORDS)
    if found >= len(IPADIC_WORDS) // 2:
        return "ipadic"
    return "unidic_lite" if found == 0 and len(vocabulary) >= _MIN_TELLING_VOCABULARY else None


def _check_special_tokens(tokenizer: PreTrainedTokenizerBase, where: str) -> str:
    vocabulary = tokenizer.get_vocab()
    tokens = {kind: getattr(tokenizer, f"{kind}_token") for kind in ("unk", "pad", "sep", "cls")}
    for kind, token in tokens.items():
        if token is None or token not in vocabulary:
            raise EncoderError(
                f"{where}: the tokenizer has no {kind} token ({token!r} is not in the vocabulary); Tanzaku needs "
                "unk, pad, sep and cls, so choose an encoder of BERT's family, or name them in tokenizer_config.json"
            )
    return " ".join(tokens.values())


def _check_padding(tokenizer: Any, config_pad_id: int | None, where: str) -> str:
    """RoBERTa counts positions from the configuration's id, and no embedding of that id is ever trained."""
    if config_pad_id is not None and config_pad_id != tokenizer.pad_token_id:
        raise EncoderError(
            f"{where}: the tokenizer pads with {tokenizer.pad_token} ({tokenizer.pad_token_id}), and config.json says "
            f"pad_token_id = {config_pad_id} ({tokenizer.convert_ids_to_tokens(config_pad_id)}); fetch both files from "
            f'one place, or, if the tokenizer is right, write "pad_token_id": {tokenizer.pad_token_id} into config.json'
        )
    return f"{tokenizer.pad_token} ({tokenizer.pad_token_id}), as in config.json"


def _check_ends(tokenizer: Any, where: str) -> str:
    """Every text must stand between the same two special tokens: each window that it is cut into gets them too."""
    texts = [*GOLDEN_SENTENCES, ""]
    with quiet_transformers():
        plain = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    whole, cut = (_encoded(tokenizer, texts, max_tokens) for max_tokens in (_NO_LIMIT, _FEW_TOKENS))
    first, last = (whole[0][0], whole[0][-1]) if whole[0] else (None, None)
    special = set(tokenizer.all_special_ids)
    for text, inner, ids in zip(texts, plain, whole, strict=True):
        if ids != [first, *inner, last] or not {first, last} <= special:
            cls, sep = tokenizer.cls_token, tokenizer.sep_token
            raise EncoderError(
                f"{where}: the tokenizer does not put every text between {cls} and {sep}: "
                f"{text!r} becomes {_pieces(tokenizer, ids)!r}; give tokenizer.json a post-processor for the template "
                f'"{cls} $A {sep}" (its model card says how the encoder was pretrained), or choose another encoder'
            )
    for text, inner, ids in zip(texts, plain, cut, strict=True):
        if ids != [first, *inner[: _FEW_TOKENS - 2], last]:
            raise EncoderError(
                f"{where}: cut to {_FEW_TOKENS} tokens, {text!r} becomes {_pieces(tokenizer, ids)!r}, not its "
                'first ones between the special tokens; write "truncation_side": "right" into tokenizer_config.json'
            )
    return f"{_pieces(tokenizer, whole[-1])} around every text, an empty one too"


def _encoded(tokenizer: Any, texts: list[str], max_tokens: int) -> list[list[int]]:
    """Each text's ids, made in the way that a study's documents are."""
    ids, lengths = text_encoder(tokenizer, max_tokens)(texts)
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]


def _pieces(tokenizer: Any, ids: list[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(ids))


def _check_vocabulary(tokenizer: PreTrainedTokenizerBase, embedding_rows: int, where: str) -> str:
    largest = max(max(tokenizer.get_vocab().values(), default=0) + 1, len(tokenizer))
    if largest > embedding_rows:
        raise EncoderError(
            f"{where}: the tokenizer has {largest:,} tokens, the encoder's embedding {embedding_rows:,} rows "
            "(vocab_size in config.json); they belong to different encoders, so fetch both from one place"
        )
    _check_vocabulary_is_used(tokenizer, where)
    _warn_of_the_other_dictionary(tokenizer, where)
    return f"{len(tokenizer):,} tokens for {embedding_rows:,} rows of the embedding"


def _check_vocabulary_is_used(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Words of several kanji in the vocabulary must come out of the tokenizer: one that isolates kanji gives none."""
    words = sorted(piece for piece in tokenizer.get_vocab() if _KANJI_WORD.fullmatch(piece))
    if len(words) < _MIN_KANJI_WORDS:
        return
    probed = words[:: max(1, len(words) // _PROBED_WORDS)]
    whole = sum(word in tokenizer.tokenize(word) for word in probed)
    if whole < 0.1 * len(probed):
        raise EncoderError(_wrong_class(tokenizer, where, f"it never produces words such as {probed[0]!r}"))


def _check_golden_sentences(tokenizer: PreTrainedTokenizerBase, where: str) -> str:
    share = unknown_share(tokenizer)
    pieces = list(itertools.chain(*golden_pieces(tokenizer)))
    if share >= _MAX_UNKNOWN_SHARE:
        reason = f"{share:.0%} of the tokens of plain Japanese sentences are {tokenizer.unk_token}"
        raise EncoderError(_wrong_class(tokenizer, where, reason))
    words = sum(1 for piece in tokenizer.get_vocab() if _KANJI_WORD.fullmatch(piece))
    continued = sum(piece.startswith("##") for piece in pieces) / len(pieces)
    if words >= _MIN_KANJI_WORDS and continued > _MAX_CONTINUED_SHARE:
        reason = f"{continued:.0%} of the tokens of plain sentences start inside a word, so it finds no word ends"
        raise EncoderError(_wrong_class(tokenizer, where, reason))
    return f"{share:.0%} unknown; {GOLDEN_SENTENCES[0]}"


def _wrong_class(tokenizer: PreTrainedTokenizerBase, where: str, reason: str) -> str:
    dictionary = dictionary_of_vocabulary(tokenizer.get_vocab()) or "ipadic"
    return (
        f"{where}: {type(tokenizer).__name__} does not fit the vocabulary: {reason}. If the vocabulary was made from "
        'words cut by MeCab, write into tokenizer_config.json: "tokenizer_class": "BertJapaneseTokenizer", '
        f'"word_tokenizer_type": "mecab", "mecab_kwargs": {{"mecab_dic": "{dictionary}"}} '
        "(the encoder's model card names the dictionary); if it is not a Japanese vocabulary, choose a Japanese encoder"
    )


def _warn_of_the_other_dictionary(tokenizer: Any, where: str) -> None:
    used = (getattr(tokenizer, "mecab_kwargs", None) or {}).get("mecab_dic")
    fitting = dictionary_of_vocabulary(tokenizer.get_vocab())
    # The full UniDic cuts as unidic-lite does, as far as these words can tell.
    if (
        used is not None
        and fitting is not None
        and used.replace("unidic_lite", "unidic") != fitting.replace("_lite", "")
    ):
        warnings.warn(
            f"{where}: its words are cut with {used}, but the vocabulary looks as if made with {fitting}; compare the "
            f'model card, and set "mecab_kwargs": {{"mecab_dic": "{fitting}"}} in tokenizer_config.json if so',
            TanzakuWarning,
            stacklevel=5,
        )
