"""A trimmed encoder: the same tokens and logits on texts of kept pieces, for every kind of tokenizer."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from transformers import AutoModelForMaskedLM

from tanzaku.encoders.card import CARD_FILE, EncoderCard, read_card
from tanzaku.encoders.fit import GOLDEN_SENTENCES, IPADIC_WORDS, dictionary_of_vocabulary, golden_pieces
from tanzaku.encoders.load import load_classifier, load_tokenizer, resolve_encoder
from tanzaku.encoders.source import EncoderSource
from tanzaku.encoders.trimming.pieces import backend, choose_pieces, merge_pairs, merged_piece, needed_pieces
from tanzaku.encoders.trimming.record import RECORD_FILE, TrimmingRecord
from tanzaku.encoders.trimming.tokenizer import write_cut_tokenizer
from tanzaku.encoders.trimming.trim import trim
from tanzaku.errors import EncoderError, TanzakuError
from tests.checkpoints import KINDS, POSITIONS, random_weights, sentences, write_json, write_weights

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "max_position_embeddings": POSITIONS,
}
CLAUSES = [part for sentence in sentences() for part in sentence.replace("。", "、").split("、") if part]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def _save_bert(folder: Path, tokenizer: tokenizers.Tokenizer) -> Path:
    """A BERT with this tokenizer as its tokenizer.json."""
    folder.mkdir(parents=True)
    ids = tokenizer.get_vocab()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS}
    write_json(folder / "tokenizer_config.json", settings | {f"{name}_token": token for name, token in names.items()})
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), pad_token_id=tokenizer.token_to_id("[PAD]"), **SIZES
    )
    write_json(folder / "config.json", json.loads(config.to_json_string()) | {"architectures": ["BertForMaskedLM"]})
    write_weights(folder, random_weights(config))
    return folder


def _wordpiece(folder: Path) -> Path:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=4000, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(sentences(), trainer)
    return _save_bert(folder, tokenizer)


def _byte_level_bpe(folder: Path) -> Path:
    """The special tokens come last, as in ModernBERT's vocabulary."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=3000, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.add_special_tokens(SPECIAL)
    return _save_bert(folder, tokenizer)


def _byte_fallback_bpe(folder: Path) -> Path:
    """As SentencePiece's BPE in a tokenizer.json: characters that it lacks become their bytes."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    trained.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=3000, special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))], show_progress=False
    )
    trained.train_from_iterator(sentences(), trainer)
    content = json.loads(trained.to_str())
    content["model"]["byte_fallback"] = True
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in SPECIAL]
    return _save_bert(folder, tokenizers.Tokenizer.from_str(json.dumps(content)))


MAKERS: dict[str, Callable[[Path], Path]] = {
    **{kind: make for kind, (make, _) in KINDS.items()},
    "wordpiece": _wordpiece,
    "byte-level-bpe": _byte_level_bpe,
    "byte-fallback-bpe": _byte_fallback_bpe,
}


@pytest.fixture(scope="module", params=MAKERS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, TrimmingRecord]:
    """An encoder, the same trimmed to what half of the clauses have, and the record."""
    folder = tmp_path_factory.mktemp("trim")
    encoder = MAKERS[request.param](folder / "encoder")
    source = resolve_encoder(str(encoder))
    record = trim(source, CLAUSES[::2], folder / "trimmed", min_count=1, characters="seen", held_out=0.1)
    return encoder, folder / "trimmed", record


def _kept(encoder: Path, trimmed: Path) -> np.ndarray:
    """The old id of each new one, by the pieces' names."""
    old, new = (load_tokenizer(resolve_encoder(str(folder))).get_vocab() for folder in (encoder, trimmed))
    return np.array([old[piece] for piece, _ in sorted(new.items(), key=lambda entry: entry[1])])


def _texts(encoder: Path, kept: np.ndarray, *, count: int = 40) -> list[str]:
    """Texts of kept pieces: sentences, their parts joined at random, and such with a character that nobody knows."""
    numbers = random.Random(0)
    texts = [*CLAUSES, *("、".join(numbers.sample(CLAUSES, 2)) + "。" for _ in range(200))]
    texts += [f"{text[:5]}\U0001f9ff{text[5:]}" for text in texts]  # an emoji of 2018
    numbers.shuffle(texts)
    tokenizer = load_tokenizer(resolve_encoder(str(encoder)))
    inside = [text for text in texts if np.isin(tokenizer(text)["input_ids"], kept).all()]
    assert len(inside) > count
    assert any("\U0001f9ff" in text for text in inside[:count])
    return inside[:count]


def test_texts_of_kept_pieces_have_the_same_tokens_and_logits(pair: tuple[Path, Path, TrimmingRecord]) -> None:
    encoder, trimmed, _ = pair
    kept = _kept(encoder, trimmed)
    old, new = (load_tokenizer(resolve_encoder(str(folder))) for folder in (encoder, trimmed))
    models = [AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval() for folder in (encoder, trimmed)]
    for text in _texts(encoder, kept):
        before, after = (
            tokenizer(text, truncation=True, max_length=POSITIONS)["input_ids"] for tokenizer in (old, new)
        )
        assert kept[after].tolist() == before, text
        with torch.inference_mode():
            wide, narrow = (
                model(input_ids=torch.tensor([ids])).logits for model, ids in zip(models, (before, after), strict=True)
            )
        torch.testing.assert_close(narrow, wide[..., torch.from_numpy(kept)], rtol=0, atol=1e-5)  # other sums' order


def test_it_is_smaller_and_the_record_says_by_how_much(pair: tuple[Path, Path, TrimmingRecord]) -> None:
    encoder, trimmed, record = pair
    assert TrimmingRecord.model_validate_json((trimmed / RECORD_FILE).read_text(encoding="utf-8")) == record
    for size, folder in ((record.before, encoder), (record.after, trimmed)):
        model = AutoModelForMaskedLM.from_pretrained(folder)
        assert size.pieces == model.config.vocab_size == model.get_input_embeddings().weight.shape[0]
        assert size.bytes == sum(
            path.stat().st_size for path in folder.iterdir() if path.name not in (RECORD_FILE, CARD_FILE)
        )
    removed = record.before.pieces - record.after.pieces
    assert removed > 100
    assert record.before.parameters - record.after.parameters >= 32 * removed
    assert record.parity is not None
    assert record.parity.lines > 0
    assert record.parity.largest_difference <= 1e-5


def test_the_licence_goes_with_what_is_made(tmp_path: Path) -> None:
    encoder = KINDS["bert-ipadic"][0](tmp_path / "encoder")
    (encoder / "LICENSE").write_text("terms", encoding="utf-8")
    (encoder / CARD_FILE).write_text(
        "---\nlicense: mit\nbase_model: owner/large\n---\nOnly of the original.\n", "utf-8"
    )
    trim(resolve_encoder(str(encoder)), sentences(), tmp_path / "trimmed", min_count=1)
    assert (tmp_path / "trimmed" / "LICENSE").read_text(encoding="utf-8") == "terms"
    assert read_card(tmp_path / "trimmed") == EncoderCard("mit", "owner/large")
    text = (tmp_path / "trimmed" / CARD_FILE).read_text(encoding="utf-8")
    assert "Made from encoder with `tanzaku trim`; trimming.json has the details." in text
    assert "Only of the original" not in text


def test_the_record_measures_the_held_out_lines(pair: tuple[Path, Path, TrimmingRecord]) -> None:
    """Counted again from outside: every tenth line of those that were read."""
    encoder, trimmed, record = pair
    lines = [line for line in CLAUSES[::2] if line.strip()]
    held_out = lines[9::10]
    kept = _kept(encoder, trimmed)
    old, new = (load_tokenizer(resolve_encoder(str(folder))) for folder in (encoder, trimmed))
    before, after = (
        [index for line in held_out for index in tokenizer(line)["input_ids"][1:-1]] for tokenizer in (old, new)
    )
    assert record.held_out is not None
    assert record.lines == len(lines) - len(held_out)
    assert (record.held_out.lines, record.held_out.tokens_before) == (len(held_out), len(before))
    assert record.held_out.tokens == len(after)
    assert record.held_out.coverage == pytest.approx(np.isin(before, kept).mean())
    assert record.held_out.coverage < 1
    assert record.held_out.unknown_before == pytest.approx(np.mean([index == old.unk_token_id for index in before]))
    assert record.held_out.unknown == pytest.approx(np.mean([index == new.unk_token_id for index in after]))


def test_a_trimmed_encoder_can_be_trained_and_keeps_its_special_tokens(pair: tuple[Path, Path, TrimmingRecord]) -> None:
    encoder, trimmed, _ = pair
    old, new = (load_tokenizer(resolve_encoder(str(folder))) for folder in (encoder, trimmed))
    for name in ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token"):
        assert getattr(new, name) == getattr(old, name)
    loaded = load_classifier(resolve_encoder(str(trimmed)), label_names=["a", "b"], seed=0, pooling="mean")
    assert loaded.model.config.pad_token_id == new.pad_token_id


def test_the_most_frequent_pieces_are_kept_and_all_japanese_characters_unless_unwanted(tmp_path: Path) -> None:
    encoder = KINDS["bert-ipadic"][0](tmp_path / "encoder")
    tokenizer = load_tokenizer(resolve_encoder(str(encoder)))
    vocabulary = tokenizer.get_vocab()
    counts = np.random.default_rng(0).integers(0, 50, len(vocabulary))
    needed = needed_pieces(tokenizer)
    counts[sorted(needed)] += 50  # they are frequent, and yet take no place from the others
    kept = set(choose_pieces(tokenizer, counts, min_count=10, max_pieces=50, characters="seen").tolist())
    others = [index for index in np.argsort(-counts, kind="stable").tolist() if index not in needed]
    chosen = set(others[:50])  # besides those that are kept in any case
    assert kept == chosen | needed
    assert min(counts[index] for index in chosen) >= max(counts[index] for index in others[50:])
    japanese = set(choose_pieces(tokenizer, counts, min_count=10, max_pieces=50, characters="japanese").tolist())
    characters = {index for piece, index in vocabulary.items() if piece.removeprefix("##") in set("海山雲のアA。1")}
    assert characters
    assert kept | characters <= japanese
    assert all(len(piece.removeprefix("##")) == 1 for piece, index in vocabulary.items() if index in japanese - kept)


def test_a_trimmed_vocabulary_passes_the_same_checks(tmp_path: Path) -> None:
    """Texts without them drop neither the words that tell the dictionary nor those of the golden sentences."""
    encoder = KINDS["bert-ipadic"][0](tmp_path / "encoder")
    pieces = (encoder / "vocab.txt").read_text(encoding="utf-8").split()
    pieces += [word for word in ("について", "として", "という", "によって", "における") if word not in pieces]
    pieces += [f"[unused{number}]" for number in range(6000 - len(pieces))]
    (encoder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = json.loads((encoder / "config.json").read_text(encoding="utf-8")) | {"vocab_size": len(pieces)}
    write_json(encoder / "config.json", settings)
    write_weights(encoder, random_weights(transformers.BertConfig(**settings)))
    tokenizer = load_tokenizer(resolve_encoder(str(encoder)))
    texts = [clause for clause in CLAUSES if not any(word in clause for word in IPADIC_WORDS)][-40:]
    trim(resolve_encoder(str(encoder)), texts, tmp_path / "out", min_count=1, characters="seen")
    cut = load_tokenizer(resolve_encoder(str(tmp_path / "out")))
    assert dictionary_of_vocabulary(cut.get_vocab()) == dictionary_of_vocabulary(pieces) == "ipadic"
    assert golden_pieces(cut) == golden_pieces(tokenizer)


def test_a_bpes_kept_pieces_can_all_be_put_together(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(resolve_encoder(str(_byte_level_bpe(tmp_path / "encoder"))))
    model = backend(tokenizer)["model"]
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    counts[2500:2600] = 1
    kept = set(choose_pieces(tokenizer, counts, min_count=1, max_pieces=None, characters="seen").tolist())
    made = {merged_piece(model, pair): {model["vocab"][piece] for piece in pair} for pair in merge_pairs(model)}
    names = {index: piece for piece, index in model["vocab"].items()}
    parts = [made[names[index]] for index in kept if names.get(index) in made]
    assert parts
    assert all(part <= kept for part in parts)


def test_japanese_characters_of_a_byte_level_bpe_are_kept(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(resolve_encoder(str(_byte_level_bpe(tmp_path / "encoder"))))
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    ids = {index: tokenizer.decode([index]) for index in range(len(tokenizer))}
    kana = {index for index, text in ids.items() if len(text) == 1 and "ぁ" <= text <= "ん"}
    assert len(kana) > 20
    japanese = choose_pieces(tokenizer, counts, min_count=1, max_pieces=None, characters="japanese")
    assert kana <= set(japanese.tolist())


def test_an_unknown_character_costs_a_unigram_model_as_much_as_before(tmp_path: Path) -> None:
    """The score of an unknown character is the least score less ten, so the piece that has it stays.

    Here ab|? would otherwise become likelier than a|b?, since ? occurs in no other piece.
    """
    pieces = [("[PAD]", 0.0), ("[UNK]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0)]
    pieces += [("a", -11.0), ("b?", -11.0), ("ab", -0.5), ("b", -3.0), ("least", -20.0)]
    source = _with_unigram(tmp_path / "encoder", pieces)
    kept = choose_pieces(
        load_tokenizer(source), np.array([0] * 5 + [9] * 4 + [0]), min_count=1, max_pieces=None, characters="seen"
    )
    write_cut_tokenizer(load_tokenizer(source), source, kept, tmp_path / "cut")
    cut = transformers.AutoTokenizer.from_pretrained(tmp_path / "cut")
    assert load_tokenizer(source).tokenize("ab?") == cut.tokenize("ab?") == ["a", "b?"]


def _with_unigram(folder: Path, pieces: list[tuple[str, float]]) -> EncoderSource:
    vocabulary = [*pieces, *((character, -5.0) for character in "山海に行くと、空白い雲が見える。")]
    return resolve_encoder(
        str(_save_bert(folder, tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unk_id=1))))
    )


def test_positions_that_are_counted_from_the_padding_stay(tmp_path: Path) -> None:
    """A RoBERTa whose [PAD] is not among the first ids: pieces that nobody needs stand before it."""
    encoder = KINDS["roberta"][0](tmp_path / "encoder")
    content = json.loads((encoder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary, added = content["model"]["vocab"], content["added_tokens"]
    vocabulary[1], vocabulary[40] = vocabulary[40], vocabulary[1]  # <pad>
    next(token for token in added if token["content"] == "<pad>")["id"] = 40
    added.sort(key=lambda token: token["id"])
    (encoder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    settings = json.loads((encoder / "config.json").read_text(encoding="utf-8")) | {
        "pad_token_id": 40,
        "max_position_embeddings": POSITIONS + 41,
    }
    write_json(encoder / "config.json", settings)
    write_weights(encoder, random_weights(transformers.RobertaConfig(**settings)))
    record = trim(resolve_encoder(str(encoder)), CLAUSES, tmp_path / "out", min_count=2, characters="seen")
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["pad_token_id"] == 40
    assert record.parity is not None
    assert record.parity.largest_difference <= 1e-5


def test_dtypes_are_kept_unless_asked(tmp_path: Path) -> None:
    source = resolve_encoder(str(KINDS["roberta"][0](tmp_path / "encoder")))
    halves = {"stored": torch.float32, "float16": torch.float16}
    for dtype, expected in halves.items():
        record = trim(source, CLAUSES, tmp_path / dtype, dtype=dtype)  # type: ignore[arg-type]
        assert record.parity is not None
        assert record.parity.largest_difference <= 1e-5
        assert next(AutoModelForMaskedLM.from_pretrained(tmp_path / dtype).parameters()).dtype is expected
    again = resolve_encoder(str(tmp_path / "float16"))
    trim(again, sentences(), tmp_path / "again")
    assert next(AutoModelForMaskedLM.from_pretrained(tmp_path / "again").parameters()).dtype is torch.float16


def test_what_cannot_be_done_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    source = resolve_encoder(str(KINDS["bert-character"][0](tmp_path / "encoder")))
    with pytest.raises(EncoderError, match="no line that is not blank"):
        trim(source, ["", "  "], tmp_path / "out")
    with pytest.raises(EncoderError, match=r"held_out = 0\.9"):
        trim(source, ["海"], tmp_path / "out", held_out=0.9)
    with pytest.raises(EncoderError, match="min_count = 0"):
        trim(source, ["海"], tmp_path / "out", min_count=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(TanzakuError, match="already exists and is not empty"):
        trim(source, ["海"], tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "full"]


def test_a_word_that_wordpiece_gave_up_may_have_other_pieces(tmp_path: Path) -> None:
    """ "qxz" begins with "qx", and no piece is "##z"; without "qx" it is "q" and "##xz"."""
    characters = sorted({character for text in (*GOLDEN_SENTENCES, *sentences()) for character in text} - set(" qxz"))
    pieces = [*SPECIAL, *characters, *(f"##{one}" for one in characters), "q", "w", "qx", "##xz"]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    source = resolve_encoder(str(_save_bert(tmp_path / "encoder", tokenizer)))
    lines = ["q wxz", "qxz"] * 20
    record = trim(source, lines, tmp_path / "trimmed", characters="seen", held_out=0.5)
    trimmed = load_tokenizer(resolve_encoder(str(tmp_path / "trimmed")))
    assert "qx" not in trimmed.get_vocab()
    assert trimmed.tokenize("qxz") == ["q", "##xz"]
    assert record.held_out is not None
    assert record.held_out.unknown_before > record.held_out.unknown == 0


def test_about_the_share_of_lines_that_was_asked_for_is_held_out(tmp_path: Path) -> None:
    source = resolve_encoder(str(KINDS["bert-character"][0](tmp_path / "encoder")))
    for share in (0.05, 0.3, 0.4, 0.45, 0.5):
        record = trim(source, ["海に船がある。"] * 200, tmp_path / f"out-{share}", held_out=share, min_count=1)
        assert record.held_out is not None
        assert (record.held_out.lines, record.lines) == (round(200 * share), 200 - round(200 * share))
