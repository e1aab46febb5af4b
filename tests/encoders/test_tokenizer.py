import importlib.util
import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertJapaneseTokenizer, LukeConfig, LukeModel

from tanzaku.encoders.config import load_config
from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.encoders.tokenizer import needed_packages, save_tokenizer
from tanzaku.encoders.words import in_pieces
from tanzaku.errors import EncoderError, TanzakuWarning
from tests.checkpoints import (
    KINDS,
    SPECIAL_TOKENS,
    character_vocabulary,
    make_mecab_bert,
    mecab_vocabulary,
    sentences,
    write_json,
)

# IPADIC keeps について as one word, unidic-lite cuts it into three.
TELLING = "山について友だちと話す。"


def _load(folder: Path) -> Any:
    return load_tokenizer(resolve_encoder(str(folder)))


def _write_vocabulary(folder: Path, pieces: list[str]) -> None:
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_japanese(kind: str, checkpoint: Callable[[str], Path]) -> None:
    tokenizer = _load(checkpoint(kind))
    ids = tokenizer("新しい映画を友だちと見る。")["input_ids"]
    assert ids[0] == tokenizer.cls_token_id
    assert ids[-1] == tokenizer.sep_token_id
    assert tokenizer.unk_token_id not in ids
    pieces = tokenizer.convert_ids_to_tokens(ids[1:-1])
    assert "".join(pieces).replace("##", "").replace("▁", "") == "新しい映画を友だちと見る。"


# Full width, half width, an ideographic space, a circled digit, and spaces at the ends and in between.
_UNUSUAL = ["２０２４年　１２月の空", "ｶﾅの①番と雲", "　海に  船がある。 ", "山\u200bと\u0301空"]


def test_sentencepiece_ids_are_sentencepieces_own(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = checkpoint("deberta-v2")
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    texts = [*sentences()[:40], *_UNUSUAL]
    expected = [reference.encode(text) for text in texts]
    tokenizer = _load(folder)
    assert tokenizer(texts, add_special_tokens=False)["input_ids"] == expected
    shutil.copytree(folder, tmp_path / "fast")
    (tmp_path / "fast" / "spm.model").unlink()
    tokenizer.save_pretrained(tmp_path / "fast")
    assert (tmp_path / "fast" / "tokenizer.json").is_file()
    assert _load(tmp_path / "fast")(texts, add_special_tokens=False)["input_ids"] == expected
    save_tokenizer(tokenizer, tmp_path / "saved")  # for transformers too
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")(texts)["input_ids"] == tokenizer(texts)["input_ids"]


def test_luke_has_the_ids_with_which_it_was_pretrained(tmp_path: Path) -> None:
    """Those of fairseq: <s>, <pad>, </s> and <unk> first, and then SentencePiece's from its fourth one on."""
    folder = tmp_path / "luke"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()),
        model_prefix=str(folder / "sentencepiece.bpe"),
        vocab_size=2000,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    rows = reference.get_piece_size() + 4
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "MLukeTokenizer", "task": None})
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = LukeConfig(vocab_size=rows, entity_vocab_size=4, entity_emb_size=8, pad_token_id=1, **sizes)
    LukeModel(config).save_pretrained(folder)
    texts = [*sentences()[:20], *_UNUSUAL]
    expected = [[0, *(one + 1 if one else 3 for one in reference.encode(text)), 2] for text in texts]
    assert _load(folder)(texts)["input_ids"] == expected


@settings(max_examples=30, deadline=None)
@given(st.text(st.sampled_from("海山。\n①ﷺA𠮷"), max_size=60), st.booleans())
def test_what_sudachi_gets_is_the_whole_text_in_pieces_that_it_takes(start: str, normalize: bool) -> None:
    text = start * 800 + start
    pieces = list(in_pieces(text, normalize=normalize))
    assert "".join(pieces) == (unicodedata.normalize("NFKC", text) if normalize else text)
    assert all(len(piece.encode()) <= 49_149 for piece in pieces)
    assert all(piece[-1] in "。\n！？" for piece in pieces[:-1]) or "。" not in start


def test_the_dictionary_that_sudachi_needs_is_the_one_that_the_settings_name(tmp_path: Path) -> None:
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "sudachi"}
    folder = make_mecab_bert(
        tmp_path / "bert", tokenizer_settings=settings | {"sudachi_kwargs": {"sudachi_dict_type": "full"}}
    )
    assert set(needed_packages(resolve_encoder(str(folder)))) == {"sudachipy", "sudachidict_full"}
    write_json(folder / "tokenizer_config.json", settings)
    assert set(needed_packages(resolve_encoder(str(folder)))) == {"sudachipy", "sudachidict_core"}


@pytest.mark.parametrize(
    "settings",
    [
        # As they lie on the Hub: the first version names no dictionary, or has only the class.
        {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "do_lower_case": False},
        {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "mecab_kwargs": None},
        {"tokenizer_class": "BertJapaneseTokenizer", "mecab_kwargs": {"normalize_text": True}},
        {"do_lower_case": False, "model_max_length": 512},
        {},
    ],
)
def test_an_old_checkpoint_without_a_dictionary_gets_ipadic(tmp_path: Path, settings: dict[str, Any]) -> None:
    named = {} if "tokenizer_class" in settings else {"tokenizer_class": "BertJapaneseTokenizer"}
    folder = make_mecab_bert(tmp_path / "old", tokenizer_settings=settings, config_settings=named)
    tokenizer = _load(folder)
    expected = BertJapaneseTokenizer(
        str(folder / "vocab.txt"), word_tokenizer_type="mecab", mecab_kwargs={"mecab_dic": "ipadic"}
    )
    assert "について" in tokenizer.word_tokenizer.tokenize(TELLING)
    assert tokenizer(list(sentences()))["input_ids"] == expected(list(sentences()))["input_ids"]


def test_an_old_character_checkpoint_without_settings_splits_into_characters(tmp_path: Path) -> None:
    named = {"tokenizer_class": "BertJapaneseTokenizer"}
    folder = make_mecab_bert(tmp_path / "old", characters=True, tokenizer_settings={}, config_settings=named)
    assert _load(folder).tokenize("新しい映画") == list("新しい映画")


def test_a_named_dictionary_is_used(checkpoint: Callable[[str], Path]) -> None:
    assert "について" not in _load(checkpoint("bert-unidic")).word_tokenizer.tokenize(TELLING)
    assert "について" in _load(checkpoint("bert-ipadic")).word_tokenizer.tokenize(TELLING)


@pytest.mark.parametrize("name", [None, "BertTokenizer", "BertTokenizerFast"])
def test_a_plain_bert_tokenizer_on_mecabs_words_is_refused(tmp_path: Path, name: str | None) -> None:
    """cl-tohoku/bert-japanese issue 24: without tokenizer_class, kanji are isolated in silence."""
    settings = {"do_lower_case": False} | ({"tokenizer_class": name} if name else {})
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings=settings)
    with pytest.raises(EncoderError, match=r'BertTokenizer does not fit.*"tokenizer_class": "BertJapaneseTokenizer"'):
        _load(folder)


def test_a_tokenizer_that_finds_no_word_ends_is_refused(tmp_path: Path) -> None:
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "tokenize_chinese_chars": False}
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings=settings)
    with pytest.raises(EncoderError, match="does not fit the vocabulary"):
        _load(folder)


def test_segmenting_by_spaces_is_refused(tmp_path: Path) -> None:
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"}
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings=settings)
    with pytest.raises(EncoderError, match="BertJapaneseTokenizer does not fit the vocabulary"):
        _load(folder)


def test_a_plain_bert_tokenizer_on_characters_is_fine(tmp_path: Path) -> None:
    characters = character_vocabulary()[len(SPECIAL_TOKENS) :]
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings=settings)
    _write_vocabulary(folder, [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)])
    assert _load(folder).tokenize("映画") == ["映", "画"]


def test_a_vocabulary_without_japanese_is_refused(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    _write_vocabulary(folder, [*SPECIAL_TOKENS, *(f"word{number}" for number in range(2000)), "。", "、"])
    with pytest.raises(
        EncoderError, match=r"% of the tokens of plain Japanese sentences are \[UNK\].*Japanese encoder"
    ):
        _load(folder)


def test_a_vocabulary_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    with (folder / "vocab.txt").open("a", encoding="utf-8") as handle:
        handle.write("さらに\n")
    with pytest.raises(EncoderError, match="has 3,001 tokens, the encoder's embedding 3,000 rows"):
        _load(folder)


def test_missing_special_tokens_are_named(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    _write_vocabulary(folder, [piece for piece in mecab_vocabulary("ipadic") if piece != "[SEP]"])
    with pytest.raises(EncoderError, match=r"vocab.txt lacks \[SEP\]"):
        _load(folder)


@pytest.mark.parametrize(
    ("package", "settings", "message"),
    [
        (
            "unidic",
            {"mecab_kwargs": {"mecab_dic": "unidic"}},
            r"needs unidic; run: pip install unidic; python -m unidic download",
        ),
        (
            "sudachipy",
            {"word_tokenizer_type": "sudachi"},
            r"needs .*sudachipy.*; run: pip install sudachipy sudachidict_core",
        ),
        ("rhoknp", {"word_tokenizer_type": "jumanpp"}, r"run: pip install rhoknp"),
        (
            None,
            {"mecab_kwargs": {"mecab_dic": "naist"}},
            r"names the MeCab dictionary 'naist'; transformers has ipadic",
        ),
        (None, {"word_tokenizer_type": "kytea"}, r"can't be loaded .*kytea"),
    ],
)
def test_a_missing_segmenter_names_the_command(
    tmp_path: Path, package: str | None, settings: dict[str, Any], message: str
) -> None:
    if package is not None and importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed here, so it can't be missing")
    usual = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings=usual | settings)
    with pytest.raises(EncoderError, match=message):
        _load(folder)


def test_code_in_the_tokenizer_is_refused(tmp_path: Path) -> None:
    settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings=settings)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    with pytest.raises(EncoderError, match="never runs code from a checkpoint"):
        _load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_a_vocabulary_says_so(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    (folder / "vocab.txt").unlink()
    with pytest.raises(EncoderError, match=r"has no vocabulary \(vocab.txt, tokenizer.json"):
        _load(folder)


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_damaged_settings_are_named(tmp_path: Path, content: str) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    (folder / "tokenizer_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(EncoderError, match=r"tokenizer_config.json (can't be read as JSON|is not a JSON object)"):
        _load(folder)


def test_a_damaged_fast_tokenizer_is_named(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(checkpoint("modernbert"), folder)
    write_json(folder / "tokenizer.json", {"version": "1.0"})
    with pytest.raises(EncoderError, match="can't be loaded"):
        _load(folder)


@pytest.mark.parametrize(("vocabulary", "used"), [("ipadic", "unidic_lite"), ("unidic_lite", "ipadic")])
def test_the_other_dictionary_is_warned_of(tmp_path: Path, vocabulary: str, used: str) -> None:
    settings = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "word_tokenizer_type": "mecab",
        "mecab_kwargs": {"mecab_dic": used},
    }
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings=settings, config_settings={"vocab_size": 6000})
    pieces = mecab_vocabulary(vocabulary)
    # As a real vocabulary of IPADIC's words has, and one of UniDic's has not.
    pieces += ["について", "として", "という", "によって", "における"] if vocabulary == "ipadic" else []
    pieces = list(dict.fromkeys(pieces))
    _write_vocabulary(folder, pieces + [f"[unused{number}]" for number in range(6000 - len(pieces))])
    with pytest.warns(TanzakuWarning, match=f"cut with {used}, but the vocabulary looks as if made with {vocabulary}"):
        _load(folder)


def test_settings_of_another_type_are_named(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", settings | {"mecab_kwargs": ["ipadic"]})
    with pytest.raises(EncoderError, match=r"mecab_kwargs in .*tokenizer_config\.json is not a table of options"):
        _load(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", config | {"model_type": ["bert"]})
    with pytest.raises(EncoderError, match=r"names the model_type \['bert'\], which this transformers does not have"):
        load_config(resolve_encoder(str(folder)))
