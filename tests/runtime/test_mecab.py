"""The ids of Japanese BERT's tokenizers without transformers."""

import sys
from pathlib import Path

import pytest

from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.errors import BundleError
from tanzaku.exports.tokenizers import write_tokenizer
from tanzaku.runtime.mecab import _tagger
from tanzaku.runtime.tokens import open_tokenizer
from tests.checkpoints import make_mecab_bert, sentences

TEXTS = (
    *sentences()[:40],
    "",
    "　",
    "[CLS]",
    "海[SEP]と[MASK]山[UNK]",
    "[[SEP]]",
    "ＡＢＣ㍍ﾃｽﾄ Café 𠮷野家🍣 e\u0301",
    "a" * 150,
    "長い文章です。" * 40,
)


@pytest.mark.parametrize(
    ("dictionary", "characters", "lowercase"),
    [("ipadic", False, False), ("unidic_lite", False, True), ("unidic_lite", True, False)],
)
def test_the_ids_are_those_of_transformers(tmp_path: Path, dictionary: str, characters: bool, lowercase: bool) -> None:
    settings = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "do_lower_case": lowercase,
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "character" if characters else "wordpiece",
        "mecab_kwargs": {"mecab_dic": dictionary},
    }
    encoder = make_mecab_bert(
        tmp_path / "encoder", dictionary=dictionary, characters=characters, tokenizer_settings=settings
    )
    reference = load_tokenizer(resolve_encoder(str(encoder)))
    tokenize = open_tokenizer(
        write_tokenizer(reference, encoder / "vocab.txt", tmp_path / "tokenizer"), tmp_path / "tokenizer"
    )
    for limit in (None, 12):
        found = list(tokenize(TEXTS, limit))
        for text, ids in zip(TEXTS, found, strict=True):
            truncation = {} if limit is None else {"truncation": True, "max_length": limit}
            assert ids.tolist() == reference(text, **truncation)["input_ids"], text


def test_a_dictionary_that_was_not_downloaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unidic.py").write_text(f"DICDIR = {str(tmp_path / 'dicdir')!r}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "unidic", raising=False)
    with pytest.raises(BundleError, match=r"can't open the dictionary unidic in .*; run: python -m unidic download"):
        _tagger("unidic")
