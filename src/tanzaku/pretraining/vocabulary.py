"""A WordPiece vocabulary of one's own, over MeCab/IPADIC words, made as those of the Tohoku University models are."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertJapaneseTokenizer
from transformers.models.bert_japanese.tokenization_bert_japanese import MecabTokenizer

from tanzaku.encoders.parallel import map_chunks
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.segmenter import bound_mecab
from tanzaku.errors import DataError
from tanzaku.files import atomic_folder, write_atomically

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_DICTIONARY = "ipadic"
_VOCABULARY_FILE = "vocab.txt"
_CONTINUATION = "##"
# Every character also takes a second place, as the continuation of a word.
_LARGEST_SHARE_OF_CHARACTERS = 1 / 3
_LONGEST_WORD = 100  # characters; WordPiece makes longer ones [UNK]
_SMALLEST, _STEP_DOWN = 8, 0.9  # of the sizes that are tried where a text is too small


def largest_id(tokenizer: Any) -> int:
    """The largest id of a token; there may be gaps below it, as where a word list repeats a line."""
    ids: list[int] = [*tokenizer.get_vocab().values(), *tokenizer.all_special_ids]
    return max(ids)


def count_words(chunks: Iterable[list[str]], *, workers: int) -> Counter[str]:
    """How often each MeCab/IPADIC word stands in the NFKC-normalised text."""
    counts: Counter[str] = Counter()
    for part in map_chunks(chunks, maker=_word_counter, arguments=(), workers=workers):
        counts.update(part)
    return counts


def train_vocabulary(counts: Counter[str], *, size: int, character_coverage: float) -> list[str]:
    """The vocabulary's pieces, the special tokens first; the same counts give the same pieces.

    Args:
        counts: Of each word.
        size: Pieces, the five special tokens among them.
        character_coverage: Share of the text's characters that become pieces, the most frequent ones.

    Raises:
        DataError: The text is too small for so many pieces.
    """
    counts = Counter({word: count for word, count in counts.items() if len(word) <= _LONGEST_WORD})
    pieces = _train(counts, size=size, character_coverage=character_coverage)
    if len(pieces) >= size:
        return pieces
    # Fewer pieces leave room for fewer characters, and so for fewer words: the size that is named was tried.
    fewer = len(pieces)
    while fewer >= _SMALLEST and len(_train(counts, size=fewer, character_coverage=character_coverage)) < fewer:
        fewer = int(_STEP_DOWN * fewer)
    remedy = f"Give more text, or --vocabulary-size {fewer}." if fewer >= _SMALLEST else "Give more text."
    raise DataError(f"the text is too small for a vocabulary of {size:,} pieces: it gives {len(pieces):,}. {remedy}")


def _train(counts: Counter[str], *, size: int, character_coverage: float) -> list[str]:
    """As many pieces as `size`, or as the text gives."""
    alphabet = _alphabet(counts, coverage=character_coverage, most=int(size * _LARGEST_SHARE_OF_CHARACTERS))
    kept = set(alphabet)
    known = {word: count for word, count in counts.items() if kept.issuperset(word)}
    inside = sorted({f"{_CONTINUATION}{character}" for word in known for character in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        # Left alone, the trainer numbers single characters inside words by chance, and settles ties by the numbers.
        special_tokens=[*SPECIAL_TOKENS, *sorted(alphabet), *inside],
        continuing_subword_prefix=_CONTINUATION,
        show_progress=False,
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(_repeated(known), trainer=trainer)
    return [piece for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]


def make_tokenizer(pieces: list[str], folder: Path) -> BertJapaneseTokenizer:
    """Write the vocabulary and its tokenizer's settings into `folder`, whole or not at all, and load it."""
    content = "".join(f"{piece}\n" for piece in pieces)
    with atomic_folder(folder, replace=True) as staging:
        write_atomically(staging / _VOCABULARY_FILE, content)
        tokenizer = BertJapaneseTokenizer(
            str(staging / _VOCABULARY_FILE),
            do_lower_case=False,
            word_tokenizer_type="mecab",
            subword_tokenizer_type="wordpiece",
            mecab_kwargs={"mecab_dic": _DICTIONARY},
        )
        tokenizer.save_pretrained(staging)
    return read_tokenizer(folder)


def read_tokenizer(folder: Path) -> BertJapaneseTokenizer:
    """The tokenizer that `make_tokenizer` wrote."""
    with quiet_transformers():
        return BertJapaneseTokenizer.from_pretrained(folder, local_files_only=True)


def vocabulary_key(*, sha256s: list[str], size: int, character_coverage: float) -> str:
    """A name for the vocabulary that these texts and options give: SHA-256 in hexadecimal."""
    return hashlib.sha256(repr(("vocabulary-2", sha256s, size, character_coverage)).encode()).hexdigest()


def _word_counter() -> Callable[[list[str]], Counter[str]]:
    segmenter = MecabTokenizer(mecab_dic=_DICTIONARY)
    bound_mecab(segmenter)

    def count(lines: list[str]) -> Counter[str]:
        # NFKC can bring spaces into a word, and WordPiece cuts at these.
        return Counter(part for line in lines for word in segmenter.tokenize(line) for part in word.split())

    return count


def _alphabet(counts: Counter[str], *, coverage: float, most: int) -> list[str]:
    """The fewest most frequent characters that make up `coverage` of the text, `most` of them at most."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    needed = coverage * characters.total()
    alphabet: list[str] = []
    covered = 0
    for character, count in sorted(characters.items(), key=lambda item: (-item[1], item[0])):
        if covered >= needed or len(alphabet) >= most:
            break
        alphabet.append(character)
        covered += count
    return alphabet


def _repeated(counts: dict[str, int]) -> Iterator[str]:
    # The trainer counts for itself, in Rust and fast; sorted, so that it sees the same whatever the workers' order.
    for word, count in sorted(counts.items()):
        for start in range(0, count, 10_000):
            yield " ".join([word] * min(10_000, count - start))
