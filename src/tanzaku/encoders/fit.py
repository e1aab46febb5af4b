"""Does a tokenizer fit its vocabulary? A wrong one loads in silence and costs accuracy, so it is asked to work."""

import itertools
import re
import warnings
from collections.abc import Collection
from typing import Any

from transformers import PreTrainedTokenizerBase

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
_IPADIC_WORDS = ("について", "として", "という", "によって", "における", "に対して", "といった", "とともに")
# A vocabulary that is smaller may lack them for its size alone.
_MIN_TELLING_VOCABULARY = 5_000


def check_fit(tokenizer: PreTrainedTokenizerBase, *, embedding_rows: int, where: str) -> None:
    """Make the tokenizer work on `GOLDEN_SENTENCES` and on its own vocabulary.

    Args:
        tokenizer: The tokenizer.
        embedding_rows: How many token ids the encoder has a vector for.
        where: Begins the messages: the encoder and its folder.

    Raises:
        EncoderError: It lacks special tokens, has more tokens than the encoder, or cuts text in a way that the
            vocabulary was not made for.
    """
    _check_special_tokens(tokenizer, where)
    largest = max(max(tokenizer.get_vocab().values(), default=0) + 1, len(tokenizer))
    if largest > embedding_rows:
        raise EncoderError(
            f"{where}: the tokenizer has {largest:,} tokens, the encoder's embedding {embedding_rows:,} rows "
            "(vocab_size in config.json); they belong to different encoders, so fetch both from one place"
        )
    _check_vocabulary_is_used(tokenizer, where)
    _check_golden_sentences(tokenizer, where)
    _warn_of_the_other_dictionary(tokenizer, where)


def golden_pieces(tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    """The tokens of each golden sentence, without the special ones at its ends."""
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
    found = sum(word in vocabulary for word in _IPADIC_WORDS)
    if found >= len(_IPADIC_WORDS) // 2:
        return "ipadic"
    return "unidic_lite" if found == 0 and len(vocabulary) >= _MIN_TELLING_VOCABULARY else None


def _check_special_tokens(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    vocabulary = tokenizer.get_vocab()
    for kind in ("unk", "pad", "sep", "cls"):
        token = getattr(tokenizer, f"{kind}_token")
        if token is None or token not in vocabulary:
            raise EncoderError(
                f"{where}: the tokenizer has no {kind} token ({token!r} is not in the vocabulary); Tanzaku needs "
                "unk, pad, sep and cls, so choose an encoder of BERT's family, or name them in tokenizer_config.json"
            )


def _check_vocabulary_is_used(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Words of several kanji in the vocabulary must come out of the tokenizer: one that isolates kanji gives none."""
    words = sorted(piece for piece in tokenizer.get_vocab() if _KANJI_WORD.fullmatch(piece))
    if len(words) < _MIN_KANJI_WORDS:
        return
    probed = words[:: max(1, len(words) // _PROBED_WORDS)]
    whole = sum(word in tokenizer.tokenize(word) for word in probed)
    if whole < 0.1 * len(probed):
        raise EncoderError(_wrong_class(tokenizer, where, f"it never produces words such as {probed[0]!r}"))


def _check_golden_sentences(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
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
            f'model card, and set "mecab_kwargs": {{"mecab_dic": "{fitting}"}} in tokenizer_config.json if it is so',
            TanzakuWarning,
            stacklevel=4,
        )
