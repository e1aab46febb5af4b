"""Our reader of Unigram tokenizers, compared with the package tokenizers."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tanzaku.encoders.load import load_tokenizer
from tanzaku.encoders.source import EMBEDDED_NAME, resolve_encoder
from tanzaku.errors import BundleError, TanzakuError
from tanzaku.runtime.normalizing import UnknownPartError
from tanzaku.runtime.settings import TOKENIZER_FILE, JsonSettings
from tanzaku.runtime.tokens import extra_for, open_tokenizer
from tanzaku.runtime.unigram import UnigramTokenizer
from tests.checkpoints import make_roberta, sentences
from tests.corruption import outcome

# What the map of characters changes, marks that belong to the character before, special tokens and white space.
_ALPHABET = (
    "abceｶﾞがか゛①²½ﬁ㍍㌖Ⅷ각가\u3099\u0301\u0302\u0e33\u0903\u200c\u200d\u0600\ufe0f"
    "🏽👩🇯🇵𠮷🍣海山のは、。 \u3000\xa0\u2028\t\r\n▁<>/s"
)
TEXTS = st.lists(
    st.sampled_from(
        [*_ALPHABET, "\r\n", "<s>", "</s>", "<unk>", "<mask>", " <mask> ", "終電の車内で", "スマートフォン"]
    )
    | st.characters(codec="utf-8"),
    max_size=12,
).map("".join)


def _variants() -> dict[str, dict[str, Any]]:
    """The content of `tokenizer.json` by name: tanzaku-mini's, and with the parts that other encoders have."""
    mini = json.loads(Tokenizer.from_file(str(resolve_encoder(EMBEDDED_NAME).folder / TOKENIZER_FILE)).to_str())
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    several = {
        "type": "Sequence",
        "normalizers": [
            mini["normalizer"],
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
            {"type": "Replace", "pattern": {"String": "の"}, "content": "NO"},
            {"type": "NFD"},
        ],
    }
    bytes_of_model = [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    added = [
        {**one, "lstrip": one["content"] == "<mask>", "rstrip": one["content"] == "<s>"} for one in mini["added_tokens"]
    ]
    with_bytes = {**mini["model"], "vocab": [*mini["model"]["vocab"], *bytes_of_model], "byte_fallback": True}
    return {
        "mini": mini,
        "one word": {**mini, "normalizer": several, "pre_tokenizer": {**metaspace, "split": False}},
        "no prefix": {
            **mini,
            "normalizer": {"type": "NFKC"},
            "pre_tokenizer": {**metaspace, "prepend_scheme": "never"},
            "post_processor": None,
        },
        "bytes": {**mini, "normalizer": None, "pre_tokenizer": metaspace, "model": with_bytes},
        "added": {**mini, "pre_tokenizer": metaspace, "added_tokens": added},
    }


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[UnigramTokenizer, Tokenizer]]:
    return {
        name: (UnigramTokenizer(content), Tokenizer.from_str(json.dumps(content)))
        for name, content in _variants().items()
    }


@pytest.mark.parametrize("name", ["mini", "one word", "no prefix", "bytes", "added"])
def test_the_ids_are_those_of_the_package(pairs: dict[str, tuple[UnigramTokenizer, Tokenizer]], name: str) -> None:
    ours, package = pairs[name]

    @given(TEXTS)
    @example("e\u0301 ①\u0301 \u200d\u0301a \n\u0301\u0302 ½\r\n ＜s＞")
    @example(" \u3000<mask>  <s> \n a")
    @example("<s> \u3000<mask>")
    @settings(max_examples=150, deadline=None)
    def same(text: str) -> None:
        assert ours.encode(text, None) == package.encode(text).ids

    same()
    for text in (*sentences()[:60], "".join(sentences()[:10]), ""):
        assert ours.encode(text, None) == package.encode(text).ids
    package.enable_truncation(max_length=8)
    for text in ("", "海", sentences()[0]):
        assert ours.encode(text, 8) == package.encode(text).ids
    package.no_truncation()


def test_a_trained_tokenizer_has_the_encoders_ids_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_roberta(tmp_path / "encoder")
    reference = load_tokenizer(resolve_encoder(str(encoder)))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    tokenize = open_tokenizer(JsonSettings(), encoder)
    found = list(tokenize(sentences()[:20], 12))
    for text, ids in zip(sentences()[:20], found, strict=True):
        assert ids.tolist() == reference(text, truncation=True, max_length=12)["input_ids"]


def _other_models() -> dict[str, Tokenizer]:
    words = Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "海": 1, "山": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    prefixed = Tokenizer(tokenizers.models.Unigram([("<unk>", 0.0), ("海", -1.0), ("▁", -2.0)], unk_id=0))
    prefixed.normalizer = tokenizers.normalizers.Lowercase()
    prefixed.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    pieces = [("<unk>", 0.0), ("海", -1.0), ("▁", -2.0), ("山", -3.0)]
    whole = Tokenizer(tokenizers.models.Unigram(pieces, unk_id=0))
    no_unknown = Tokenizer(tokenizers.models.Unigram(pieces, unk_id=None))
    no_unknown.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    return {"model": words, "normalizer": prefixed, "words": whole, "unknown": no_unknown}


@pytest.mark.parametrize("part", ["model", "normalizer", "words", "unknown"])
def test_what_we_do_not_know_is_left_to_the_package(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _other_models()[part]
    package.save(str(tmp_path / TOKENIZER_FILE))
    with pytest.raises(UnknownPartError):
        UnigramTokenizer(json.loads(package.to_str()))
    assert extra_for(JsonSettings(), tmp_path) == "runtime-tokenizers"
    (ids,) = open_tokenizer(JsonSettings(), tmp_path)(["海 山"], None)
    assert ids.tolist() == package.encode("海 山").ids
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TanzakuError, match=r"pip install tokenizers \(the extra 'runtime-tokenizers'\)"):
        open_tokenizer(JsonSettings(), tmp_path)


def test_what_we_know_needs_no_package() -> None:
    assert extra_for(JsonSettings(), resolve_encoder(EMBEDDED_NAME).folder) == "runtime"


def _places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a small tokenizer can be damaged."""
    found = [path] if path else []
    if isinstance(content, dict | list):
        entries = content.items() if isinstance(content, dict) else list(enumerate(content))[:3]
        for key, value in entries:
            found += _places(value, (*path, key))
    return found


@pytest.fixture(scope="module")
def small() -> str:
    content = _variants()["one word"]
    content["model"]["vocab"] = content["model"]["vocab"][:40]
    return json.dumps(content)


def test_a_damaged_tokenizer_is_an_error_of_ours(small: str, tmp_path: Path) -> None:
    path = tmp_path / TOKENIZER_FILE
    others: list[Any] = [None, 7, -1, "x", [], {}, [[]], {"type": "x"}, "AAAA", True, 1e300]

    @given(st.sampled_from(_places(json.loads(small))), st.sampled_from(others))
    @example(("model", "unk_id"), None)
    @settings(max_examples=200, deadline=None)
    def read(place: tuple[Any, ...], other: Any) -> None:
        content = parent = json.loads(small)
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = other
        path.write_text(json.dumps(content), encoding="utf-8")
        found = outcome(lambda: list(open_tokenizer(JsonSettings(), tmp_path)(["海 ①は<s>"], 8)), BundleError)
        assert isinstance(found, list) or str(path) in str(found)

    read()
