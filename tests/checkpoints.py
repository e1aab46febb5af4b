"""Makes tiny random checkpoints in the real formats, as they lie on the Hub: no network, no published weights."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import fugashi
import sentencepiece
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForMaskedLM, PretrainedConfig

from tanzaku.encoders.fit import GOLDEN_SENTENCES

SMALL_SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "pad_token_id": 0,
}
"""Of a configuration, in the names that most architectures have."""

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
POSITIONS = 64
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "max_position_embeddings": POSITIONS,
}


@cache
def sentences() -> tuple[str, ...]:
    """Japanese text of our own to make vocabularies from: the golden sentences, and some of the sample corpus."""
    import tanzaku.data

    folder = Path(tanzaku.data.__file__).parent / "sample" / "text"
    lines = [*GOLDEN_SENTENCES]
    for category in sorted(path for path in folder.iterdir() if path.is_dir()):
        for article in sorted(category.glob("*.txt"))[:4]:
            lines += [line for line in article.read_text(encoding="utf-8").splitlines()[2:] if line.strip()]
    return tuple(lines)


def mecab_vocabulary(dictionary: str, *, size: int = 3000) -> list[str]:
    """A WordPiece vocabulary over MeCab's words with `"ipadic"` or `"unidic_lite"`."""
    folder = import_module(dictionary).DICDIR
    tagger = fugashi.GenericTagger(f'-d "{folder}" -r "{folder}/mecabrc"')
    words = Counter(word.surface for sentence in sentences() for word in tagger(sentence))
    characters = sorted(set("".join(sentences())) - {" ", "\u3000"})
    pieces = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
    common = [word for word, _ in words.most_common() if len(word) > 1]
    return [*pieces, *common][: max(size, len(pieces))]


def character_vocabulary() -> list[str]:
    """One entry a character."""
    return [*SPECIAL_TOKENS, *sorted(set("".join(sentences())) - {" ", "\u3000"})]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a settings file as the Hub has them."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def random_weights(config: PretrainedConfig, *, seed: int = 7) -> dict[str, torch.Tensor]:
    """The tensors of a masked language model of this shape, drawn from `seed`, without the tied ones' copies."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForMaskedLM.from_config(config)
    tied = set(model.all_tied_weights_keys)
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in tied}


def write_weights(folder: Path, weights: dict[str, torch.Tensor], *, layout: str = "safetensors") -> None:
    """Write tensors as `layout`: safetensors, safetensors-sharded, bin, or bin-sharded."""
    kind, _, sharded = layout.partition("-")
    whole = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[kind]
    if not sharded:
        _save(folder / whole, weights)
        return
    names = sorted(weights)
    stem, _, suffix = whole.partition(".")
    places = {name: f"{stem}-0000{1 + index % 2}-of-00002.{suffix}" for index, name in enumerate(names)}
    for shard in sorted(set(places.values())):
        _save(folder / shard, {name: weights[name] for name in names if places[name] == shard})
    write_json(folder / f"{whole}.index.json", {"metadata": {}, "weight_map": places})


def make_mecab_bert(
    folder: Path,
    *,
    dictionary: str = "ipadic",
    characters: bool = False,
    layout: str = "safetensors",
    legacy_names: bool = False,
    tokenizer_settings: dict[str, Any] | None = None,
    config_settings: dict[str, Any] | None = None,
) -> Path:
    """A BERT with a MeCab vocabulary, its files as in `tohoku-nlp/bert-base-japanese` and its successors.

    Args:
        folder: Where to (made if missing).
        dictionary: `"ipadic"` as in the first version, or `"unidic_lite"` as in the second and third.
        characters: Split words into characters, as the `-char` checkpoints do.
        layout: See `write_weights`.
        legacy_names: Call the layer norms' weights gamma and beta, as checkpoints converted from TensorFlow do.
        tokenizer_settings: In place of the usual `tokenizer_config.json`; empty writes none.
        config_settings: Added to `config.json`; a value of None takes the key away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = character_vocabulary() if characters else mecab_vocabulary(dictionary)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    config = transformers.BertConfig(vocab_size=len(vocabulary), **_SIZES)
    _write_config(folder, config, "BertForMaskedLM", config_settings)
    usual = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "do_lower_case": False,
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "character" if characters else "wordpiece",
        "mecab_kwargs": {"mecab_dic": dictionary},
    }
    settings = usual if tokenizer_settings is None else tokenizer_settings
    if settings:
        write_json(folder / "tokenizer_config.json", settings)
    weights = random_weights(config)
    if legacy_names:
        weights = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in weights.items()
        }
    write_weights(folder, weights, layout=layout)
    return folder


def make_roberta(folder: Path) -> Path:
    """A RoBERTa whose tokenizer is a tokenizer.json alone: Unigram pieces, RoBERTa's special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _unigram(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], unknown="<unk>")
    ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    _write_fast_settings(folder, names)
    sizes = _SIZES | {"max_position_embeddings": POSITIONS + 2}  # RoBERTa counts from the padding's index + 1
    config = transformers.RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), pad_token_id=1, bos_token_id=0, eos_token_id=2, **sizes
    )
    _write_config(folder, config, "RobertaForMaskedLM", None)
    write_weights(folder, random_weights(config))
    return folder


def make_deberta(folder: Path) -> Path:
    """A DeBERTa-v2 with a sentencepiece model, as `ku-nlp/deberta-v2-base-japanese` has it."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()),
        model_prefix=str(folder / "spm"),
        vocab_size=2000,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="[PAD]",
        unk_piece="[UNK]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
    )
    (folder / "spm.vocab").unlink()
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False})
    size = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model")).get_piece_size()
    config = transformers.DebertaV2Config(
        vocab_size=size, relative_attention=True, position_biased_input=False, pos_att_type=["p2c", "c2p"], **_SIZES
    )
    _write_config(folder, config, "DebertaV2ForMaskedLM", None)
    write_weights(folder, random_weights(config))
    return folder


def make_modernbert(folder: Path) -> Path:
    """A ModernBERT with a fast tokenizer, as `sbintuitions/modernbert-ja-130m` and others have it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _unigram(list(SPECIAL_TOKENS), unknown="[UNK]")
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"unk": "[UNK]", "pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    _write_fast_settings(folder, names)
    config = transformers.ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        **_SIZES,
    )
    _write_config(folder, config, "ModernBertForMaskedLM", None)
    write_weights(folder, random_weights(config))
    return folder


def make_unmasked(kind: str, folder: Path) -> Path:
    """A `"convbert"`, `"fnet"` or `"yoso"` with MeCab's vocabulary: their states depend on a batch's padding."""
    make_mecab_bert(folder)
    rows = len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    sizes = {"vocab_size": rows, "pad_token_id": 0, **_SIZES}
    config: PretrainedConfig
    if kind == "convbert":
        config = transformers.ConvBertConfig(embedding_size=32, head_ratio=2, num_groups=1, conv_kernel_size=3, **sizes)
    elif kind == "fnet":
        del sizes["num_attention_heads"]
        config = transformers.FNetConfig(**sizes)
    else:
        config = transformers.YosoConfig(**sizes)
    _write_config(folder, config, type(config).__name__.replace("Config", "ForMaskedLM"), None)
    write_weights(folder, random_weights(config))
    return folder


# What each kind is made by, and the modules that its classifier makes anew.
KINDS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "bert-ipadic": (make_mecab_bert, ("bert.pooler", "classifier")),
    "bert-ipadic-bin": (
        lambda folder: make_mecab_bert(folder, layout="bin", legacy_names=True),
        ("bert.pooler", "classifier"),
    ),
    "bert-unidic": (lambda folder: make_mecab_bert(folder, dictionary="unidic_lite"), ("bert.pooler", "classifier")),
    "bert-character": (
        lambda folder: make_mecab_bert(folder, dictionary="unidic_lite", characters=True),
        ("bert.pooler", "classifier"),
    ),
    "roberta": (make_roberta, ("classifier",)),
    "deberta-v2": (make_deberta, ("pooler", "classifier")),
    "modernbert": (make_modernbert, ("classifier",)),
}


def _save(path: Path, weights: dict[str, torch.Tensor]) -> None:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, metadata={"format": "pt"})
    else:
        torch.save(weights, path)


def _write_config(folder: Path, config: PretrainedConfig, architecture: str, settings: dict[str, Any] | None) -> None:
    content = json.loads(config.to_json_string()) | {"architectures": [architecture]} | (settings or {})
    write_json(folder / "config.json", {name: value for name, value in content.items() if value is not None})


def _unigram(special: Iterable[str], *, unknown: str) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram())
    tokenizer.normalizer = tokenizers.normalizers.NFKC()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=2000, special_tokens=list(special), unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return tokenizer


def _write_fast_settings(folder: Path, names: dict[str, str]) -> None:
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS}
    write_json(folder / "tokenizer_config.json", settings | {f"{name}_token": token for name, token in names.items()})
