from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.encoders.cache import tokenizer_fingerprint, tokens_folder
from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.encoders.tokens import TokenizedDocuments, tokenize
from tanzaku.encoders.words import WordIds
from tanzaku.errors import EncoderError, TanzakuWarning
from tests.checkpoints import KINDS, make_mecab_bert, sentences

ODD_TEXTS = (
    "",
    " ",
    "\n",
    "　",
    "山 と\t海\r\n",
    "ｶﾀｶﾅとＡＢＣと①",  # NFKC changes them
    "が",  # か and a combining mark
    "山[SEP]海[MASK]",
    " [CLS] 空",
    "[sep]",
    "<s>山</s>",
    "#hash ##雲 C# f##k",
    "𠮷野家で😀を食べる👨‍👩‍👧",
    "a" * 300,
    "山" * 300,
    "\u200b\ufeff\x00\x07",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a token cache of its own."""
    monkeypatch.setenv("TANZAKU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


@pytest.fixture
def tokenizer(checkpoint: Callable[[str], Path]) -> Any:
    return load_tokenizer(resolve_encoder(str(checkpoint("bert-ipadic"))))


def _reference(tokenizer: Any, texts: tuple[str, ...], max_tokens: int) -> list[list[int]]:
    return [tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"] for text in texts]


def _lists(documents: TokenizedDocuments) -> list[list[int]]:
    return [documents[index].tolist() for index in range(len(documents))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_tokens", [3, 16, 64])
def test_ids_are_the_references(kind: str, max_tokens: int, checkpoint: Callable[[str], Path]) -> None:
    tokenizer = load_tokenizer(resolve_encoder(str(checkpoint(kind))))
    texts = (*ODD_TEXTS, *sentences()[:80], "".join(sentences()[:30]))
    documents = tokenize(tokenizer, texts, max_tokens=max_tokens)
    assert _lists(documents) == _reference(tokenizer, texts, max_tokens)
    assert (documents.ids.dtype, documents.offsets.dtype) == (np.dtype(np.int32), np.dtype(np.int64))
    assert documents.offsets[-1] == len(documents.ids)
    assert max(map(len, _lists(documents))) == max_tokens


@pytest.mark.parametrize("kind", KINDS)
def test_whole_documents_are_not_truncated(kind: str, checkpoint: Callable[[str], Path]) -> None:
    tokenizer = load_tokenizer(resolve_encoder(str(checkpoint(kind))))
    texts = ("".join(sentences()[:30]), *sentences()[:9], "")
    whole = _lists(tokenize(tokenizer, texts, max_tokens=None))
    assert whole == [tokenizer(text, truncation=False, verbose=False)["input_ids"] for text in texts]
    assert len(whole[0]) > 64


@given(text=st.text(st.sampled_from("山海空行くと、。 \n[SEP]#ａＢがｶﾞ😀"), max_size=40), max_tokens=st.integers(3, 20))
@settings(max_examples=200, deadline=None)
def test_any_text_has_the_references_ids(text: str, max_tokens: int) -> None:
    tokenizer = _shared_tokenizer()
    assert _lists(tokenize(tokenizer, [text], max_tokens=max_tokens)) == _reference(tokenizer, (text,), max_tokens)


_SHARED: list[Any] = []


@pytest.fixture(scope="module", autouse=True)
def _share(checkpoint: Callable[[str], Path]) -> None:
    _SHARED[:] = [load_tokenizer(resolve_encoder(str(checkpoint("bert-ipadic"))))]


def _shared_tokenizer() -> Any:
    return _SHARED[0]


def test_japanese_bert_takes_the_fast_way(checkpoint: Callable[[str], Path]) -> None:
    fast = {kind for kind in KINDS if WordIds.of(load_tokenizer(resolve_encoder(str(checkpoint(kind))))) is not None}
    assert fast == {"bert-ipadic", "bert-ipadic-bin", "bert-unidic", "bert-character"}


def test_text_after_a_nul_counts(tokenizer: Any) -> None:
    after, apart = _lists(tokenize(tokenizer, ["山\0海", "山 海"], max_tokens=8))
    assert after == apart
    assert len(after) == 4


@pytest.mark.parametrize("start", ["山", "[SEP]山"])  # the fast way, and the reference
def test_text_after_more_white_space_than_mecab_counts_counts(tokenizer: Any, start: str) -> None:
    after, apart = _lists(tokenize(tokenizer, [f"{start}{' ' * 70_000}海", f"{start} 海"], max_tokens=None))
    assert after == apart


def test_left_truncation_is_the_references_too(tokenizer: Any) -> None:
    tokenizer.truncation_side = "left"
    texts = sentences()[:5]
    assert _lists(tokenize(tokenizer, texts, max_tokens=6)) == _reference(tokenizer, texts, 6)


def test_documents_are_indexed_like_a_list(tokenizer: Any) -> None:
    documents = tokenize(tokenizer, ["山", "海と空"], max_tokens=8)
    assert len(documents) == 2
    assert documents[-1].tolist() == documents[1].tolist()
    assert [len(documents[index]) for index in range(2)] == [3, 5]
    with pytest.raises(IndexError, match="document 2 of 2"):
        documents[2]
    assert len(tokenize(tokenizer, [], max_tokens=8)) == 0


def test_max_tokens_must_leave_room(tokenizer: Any) -> None:
    with pytest.raises(EncoderError, match="max_tokens = 2 leaves no room"):
        tokenize(tokenizer, ["山"], max_tokens=2)


def test_without_a_key_nothing_is_kept(tokenizer: Any, cache: Path) -> None:
    tokenize(tokenizer, ["山"], max_tokens=8)
    assert not cache.exists()


def test_the_second_time_comes_from_the_disk(tokenizer: Any, cache: Path) -> None:
    texts = (*ODD_TEXTS, *sentences()[:20])
    made = tokenize(tokenizer, texts, max_tokens=16, cache_key="key")
    (entry,) = cache.iterdir()
    stamp = (entry / "ids.npy").stat().st_mtime_ns
    read = tokenize(tokenizer, texts, max_tokens=16, cache_key="key")
    assert isinstance(read.ids, np.memmap)
    assert not read.ids.flags.writeable
    assert _lists(read) == _lists(made) == _reference(tokenizer, texts, 16)
    assert [path.name for path in cache.iterdir()] == [entry.name]
    assert (entry / "ids.npy").stat().st_mtime_ns == stamp


def test_no_documents_are_kept_and_read_too(tokenizer: Any) -> None:
    for _ in range(2):
        assert len(tokenize(tokenizer, [], max_tokens=8, cache_key="key")) == 0


def test_everything_that_decides_the_ids_is_in_the_key(
    tokenizer: Any, cache: Path, checkpoint: Callable[[str], Path]
) -> None:
    other = load_tokenizer(resolve_encoder(str(checkpoint("bert-unidic"))))
    tokenize(tokenizer, ["山", "海"], max_tokens=8, cache_key="key")
    tokenize(tokenizer, ["山", "海"], max_tokens=9, cache_key="key")
    tokenize(tokenizer, ["山", "海"], max_tokens=None, cache_key="key")
    tokenize(tokenizer, ["山海"], max_tokens=8, cache_key="key")
    tokenize(tokenizer, ["山", "海"], max_tokens=8, cache_key="other")
    tokenize(other, ["山", "海"], max_tokens=8, cache_key="key")
    tokenizer.truncation_side = "left"
    tokenize(tokenizer, ["山", "海"], max_tokens=8, cache_key="key")
    assert len(list(cache.iterdir())) == 7


def test_the_tokenizers_fingerprint_covers_vocabulary_and_settings_but_not_the_place(tmp_path: Path) -> None:
    def fingerprint(name: str, **settings_: Any) -> str:
        return tokenizer_fingerprint(
            load_tokenizer(resolve_encoder(str(make_mecab_bert(tmp_path / name, **settings_))))
        )

    def named(**settings_: Any) -> dict[str, Any]:
        return {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", **settings_}

    first = fingerprint("first", tokenizer_settings=named())
    assert fingerprint("elsewhere", tokenizer_settings=named()) == first
    changed = [
        fingerprint("dictionary", tokenizer_settings=named(mecab_kwargs={"mecab_dic": "unidic_lite"})),
        fingerprint("lower", tokenizer_settings=named(do_lower_case=True)),
        fingerprint("vocabulary", dictionary="unidic_lite", tokenizer_settings=named()),
    ]
    assert len({first, *changed}) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizers_fingerprint_is_the_same_after_use(kind: str, checkpoint: Callable[[str], Path]) -> None:
    folder = str(checkpoint(kind))
    tokenizer = load_tokenizer(resolve_encoder(folder))
    first = tokenizer_fingerprint(tokenizer)
    tokenizer(["山", "海と空"], truncation=True, max_length=4, padding=True)
    assert tokenizer_fingerprint(tokenizer) == first
    assert tokenizer_fingerprint(load_tokenizer(resolve_encoder(folder))) == first


@pytest.mark.parametrize("file_name", ["ids.npy", "offsets.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "gone"])
def test_a_damaged_entry_is_made_anew(tokenizer: Any, cache: Path, file_name: str, damage: str) -> None:
    texts = sentences()[:10]
    expected = _lists(tokenize(tokenizer, texts, max_tokens=16, cache_key="key"))
    (entry,) = cache.iterdir()
    path = entry / file_name
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "flip": flipped, "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    assert _lists(tokenize(tokenizer, texts, max_tokens=16, cache_key="key")) == expected
    assert path.read_bytes() == content
    assert [folder.name for folder in cache.iterdir()] == [entry.name]


def test_several_at_once_agree(tokenizer: Any, cache: Path) -> None:
    texts = sentences()[:30]
    expected = _reference(tokenizer, texts, 16)
    tokenizers = [tokenizer.__class__.from_pretrained(tokenizer.name_or_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda one: tokenize(one, texts, max_tokens=16, cache_key="key"), tokenizers))
    assert all(_lists(documents) == expected for documents in made)
    assert len(list(cache.iterdir())) == 1


def test_an_entry_can_be_read_by_whoever_shares_the_cache(tokenizer: Any, cache: Path) -> None:
    tokenize(tokenizer, ["山"], max_tokens=8, cache_key="key")
    (usual := cache.parent / "usual").mkdir()
    assert {path.stat().st_mode for path in cache.iterdir()} == {usual.stat().st_mode}


def test_a_cache_that_can_not_be_written_costs_a_warning(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be", encoding="utf-8")
    with pytest.warns(TanzakuWarning, match="can't be written"):
        documents = tokenize(tokenizer, ["山"], max_tokens=8, cache_key="key")
    assert len(documents) == 1


def test_the_cache_lies_where_the_platform_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert tokens_folder() == tmp_path / "cache" / "tokens"
    monkeypatch.delenv("TANZAKU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert tokens_folder() == tmp_path / "xdg" / "tanzaku" / "tokens"


def test_the_bar_keeps_off_standard_output(tokenizer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    documents = tokenize(tokenizer, sentences()[:5], max_tokens=8, progress=True)
    assert len(documents) == 5
    assert capsys.readouterr().out == ""
