import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, BertJapaneseTokenizer

from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.errors import DataError
from tanzaku.pretraining.options import PretrainOptions, read_options
from tanzaku.pretraining.prepare import prepare_stream, prepare_tokenizer
from tanzaku.pretraining.sources import TextSource, find_sources, read_chunks
from tanzaku.pretraining.stream import TokenStream, chunk_encoder, write_stream
from tanzaku.pretraining.vocabulary import SPECIAL_TOKENS, count_words, train_vocabulary
from tests.checkpoints import make_roberta, write_json

SIZE = 2500


def _stream(tokenizer: BertJapaneseTokenizer, sources: list[TextSource], *, work: Path) -> TokenStream:
    return prepare_stream(tokenizer, sources, documents="blank-line", workers=None, work=work, report=lambda _: None)


def _options(**changes: object) -> PretrainOptions:
    return read_options({"vocabulary_size": SIZE, "steps": 1, **changes})


def _chunks(source: TextSource) -> Iterator[list[str]]:
    return read_chunks(source, every_line=False)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def tokenizer(corpus: Path, work: Path) -> BertJapaneseTokenizer:
    sources = find_sources([corpus])
    return prepare_tokenizer(sources, options=_options(), source=None, work=work, report=lambda _: None)


def test_the_vocabulary_has_its_size_and_the_special_tokens_first(tokenizer: BertJapaneseTokenizer) -> None:
    pieces = tokenizer.convert_ids_to_tokens(list(range(SIZE)))
    assert len(tokenizer) == len(set(pieces)) == SIZE
    assert tuple(pieces[:5]) == SPECIAL_TOKENS
    assert sum(len(piece) > 1 and not piece.startswith("##") for piece in pieces[5:]) > 200


def test_the_same_text_gives_the_same_vocabulary(corpus: Path) -> None:
    counts = count_words(_chunks(find_sources([corpus])[0]), workers=1)
    first, again = (train_vocabulary(counts, size=SIZE, character_coverage=0.99) for _ in range(2))
    assert first == again


def test_words_after_what_ends_a_text_for_mecab_are_counted() -> None:
    assert count_words([["山\0海", f"空{' ' * 70_000}海"]], workers=1) == {"山": 1, "空": 1, "海": 2}


def test_coverage_limits_the_characters(corpus: Path) -> None:
    counts = count_words(_chunks(find_sources([corpus])[0]), workers=1)
    few, many = (
        {piece for piece in train_vocabulary(counts, size=SIZE, character_coverage=share) if len(piece) == 1}
        for share in (0.9, 0.99)
    )
    assert len(few) < len(many)
    assert few < many


def test_too_little_text_for_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("空は青い。海も青い。", encoding="utf-8")
    with pytest.raises(DataError, match=r"too small for a vocabulary of 2,500 pieces: it gives .* Give more text"):
        prepare_tokenizer(find_sources([path]), options=_options(), source=None, work=tmp_path, report=print)


def test_the_size_that_is_named_where_there_is_too_little_text_works(corpus: Path) -> None:
    counts = count_words(_chunks(find_sources([corpus])[0]), workers=1)
    few = Counter(dict(sorted(counts.items())[:300]))
    with pytest.raises(DataError, match="too small") as refused:
        train_vocabulary(few, size=SIZE, character_coverage=0.999)
    named = re.search(r"--vocabulary-size (\d+)\.", str(refused.value))
    assert named
    assert len(train_vocabulary(few, size=int(named[1]), character_coverage=0.999)) == int(named[1])


def test_it_loads_as_the_japanese_tokenizer(tokenizer: BertJapaneseTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded) is BertJapaneseTokenizer
    assert (loaded.word_tokenizer_type, loaded.subword_tokenizer_type) == ("mecab", "wordpiece")
    assert loaded.mecab_kwargs == {"mecab_dic": "ipadic"}
    assert not loaded.do_lower_case


def test_ids_equal_the_reference_tokenizers(tokenizer: BertJapaneseTokenizer, corpus: Path) -> None:
    encode = chunk_encoder(tokenizer, "<u2")
    lines = [line for line in corpus.read_text(encoding="utf-8").splitlines() if line][:200]
    lines += ["ﾊﾝｶｸ　と　全角 ＡＢＣ①", "𠮷野家 [MASK] と [SEP]", "a" * 120, "　", "㍿"]
    expected = [index for line in lines for index in tokenizer(line, add_special_tokens=False)["input_ids"]]
    assert encode(lines).tolist() == expected
    assert encode(["", *lines[:1], ""]).tolist()[0] == tokenizer.sep_token_id


def test_a_stream_is_made_once(
    tokenizer: BertJapaneseTokenizer, corpus: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = find_sources([corpus])
    made = _stream(tokenizer, sources, work=work)
    assert made.ids.dtype == np.uint16
    assert made.documents == 378
    assert int((made.ids == tokenizer.sep_token_id).sum()) == 378
    # Read again without a look at the text.
    monkeypatch.setattr("tanzaku.pretraining.prepare.write_stream", None)
    again = _stream(tokenizer, sources, work=work)
    assert isinstance(again.ids, np.memmap)
    assert np.array_equal(made.ids, again.ids)
    assert made.characters_of == again.characters_of


def test_a_half_written_stream_is_not_used(tokenizer: BertJapaneseTokenizer, corpus: Path, tmp_path: Path) -> None:
    sources = find_sources([corpus])
    first = _stream(tokenizer, sources, work=tmp_path)
    (ids,) = (tmp_path / "tokens").glob("*/ids.bin")
    content = ids.read_bytes()
    for damaged in (content[:-2], bytes(100) + content[100:]):
        ids.write_bytes(damaged)
        again = _stream(tokenizer, sources, work=tmp_path)
        assert len(again.ids) == len(first.ids)
        assert ids.read_bytes() == content


def test_several_processes_give_the_same_stream(tokenizer: BertJapaneseTokenizer, corpus: Path, tmp_path: Path) -> None:
    sources = find_sources([corpus])

    def small_chunks(source: TextSource) -> Iterator[list[str]]:
        for chunk in _chunks(source):
            for start in range(0, len(chunk), 50):
                yield chunk[start : start + 50]

    alone = write_stream(tmp_path / "alone", tokenizer, _chunks, sources, workers=1)
    together = write_stream(tmp_path / "together", tokenizer, small_chunks, sources, workers=2)
    assert alone is not None
    assert together is not None
    assert np.array_equal(alone.ids, together.ids)
    assert alone.documents == together.documents


def test_large_ids_of_a_small_vocabulary_fit_into_the_stream(tmp_path: Path) -> None:
    folder = make_roberta(tmp_path / "roberta")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < 5]
    pieces = {piece: number for number, (piece, _) in enumerate(content["model"]["vocab"])}
    content["model"] = {"type": "WordLevel", "vocab": pieces | {"▁空": 70_000}, "unk_token": "<unk>"}
    write_json(path, content)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) < 2**16
    (text := tmp_path / "a.txt").write_text("空\n", encoding="utf-8")
    made = write_stream(tmp_path / "stream", tokenizer, _chunks, find_sources([text]), workers=1)
    assert made is not None
    assert made.ids.tolist() == [70_000, tokenizer.eos_token_id]


def test_a_document_ends_with_the_token_that_the_tokenizer_puts_there(tmp_path: Path) -> None:
    """Some encoders have a token for [SEP] that they never use, and </s> at the ends of texts."""
    folder = make_roberta(tmp_path / "roberta")
    path = folder / "tokenizer_config.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"cls_token": "<mask>", "sep_token": "<mask>"})
    tokenizer = load_tokenizer(resolve_encoder(str(folder)))
    assert chunk_encoder(tokenizer, "<i4")(["空に白い雲", ""])[-1] == tokenizer.eos_token_id == 2
