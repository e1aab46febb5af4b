"""Loads an encoder's tokenizer, and makes sure that it is the one the encoder was pretrained with."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
    BertJapaneseTokenizer,
    DebertaV2Tokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    XLMRobertaTokenizer,
)

from tanzaku.encoders.config import load_config
from tanzaku.encoders.files import CONFIG_FILE
from tanzaku.encoders.fit import fit_checks
from tanzaku.encoders.normalizer import restore_normalizer
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.segmenter import bound_mecab
from tanzaku.encoders.source import EncoderSource, files_of, read_settings
from tanzaku.errors import EncoderError

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
_LOADING = ("is_local", "local_files_only")
JAPANESE_CLASS = "BertJapaneseTokenizer"
LUKE_CLASS = "MLukeTokenizer"

# What each word segmenter imports, and the name that pip knows it by.
_SEGMENTER_PACKAGES = {
    "mecab": {"fugashi": "fugashi"},
    "sudachi": {"sudachipy": "sudachipy"},
    "jumanpp": {"rhoknp": "rhoknp"},
}
_DICTIONARY_PACKAGES = {"ipadic": "ipadic", "unidic_lite": "unidic-lite", "unidic": "unidic"}


def load_tokenizer(source: EncoderSource) -> PreTrainedTokenizerBase:
    """The encoder's tokenizer, checked against its vocabulary and the encoder's configuration.

    Raises:
        EncoderError: A dictionary is missing, a file is damaged, the settings are wrong for the vocabulary, the
            vocabulary is larger than the embedding, or texts are not put between special tokens. The message says what
            to install or to write where.
    """
    tokenizer = build_tokenizer(source)
    for check in tokenizer_checks(source, tokenizer).values():
        check()
    return tokenizer


def tokenizer_checks(source: EncoderSource, tokenizer: PreTrainedTokenizerBase) -> dict[str, Callable[[], str]]:
    """What `load_tokenizer` checks of the tokenizer from `build_tokenizer`; see `fit_checks`."""
    config = load_config(source)
    return fit_checks(
        tokenizer,
        embedding_rows=config.vocab_size,
        config_pad_id=config.pad_token_id,
        where=f"encoder {source.name!r}",
    )


def build_tokenizer(source: EncoderSource) -> PreTrainedTokenizerBase:
    """The encoder's tokenizer as its files describe it; whether it works is not checked yet.

    Raises:
        EncoderError: A dictionary or a file is missing or damaged.
    """
    config = load_config(source)
    settings = read_settings(source, TOKENIZER_CONFIG_FILE)
    if "auto_map" in settings:
        raise EncoderError(
            f"encoder {source.name!r}: its tokenizer is Python code of its own (auto_map in {TOKENIZER_CONFIG_FILE}), "
            "and Tanzaku never runs code from a checkpoint; choose an encoder whose tokenizer is part of transformers"
        )
    if not files_of(source).has_vocabulary:
        raise EncoderError(
            f"encoder {source.name!r}: {source.folder} has no vocabulary (vocab.txt, tokenizer.json, or a "
            "sentencepiece model); copy them from where the weights came from"
        )
    if not isinstance(longest := settings.get("model_max_length"), int | float | None):
        raise EncoderError(
            f"encoder {source.name!r}: model_max_length = {longest!r} in {TOKENIZER_CONFIG_FILE} is not a number; "
            "correct it, or download the file again"
        )
    tokenizer = _build(source, config)
    _refuse_invented_tokens(source, tokenizer, settings)
    return tokenizer


def tokenizer_class_name(source: EncoderSource) -> str | None:
    """The class that the checkpoint asks for; None where neither of its configurations names one."""
    for file_name in (TOKENIZER_CONFIG_FILE, CONFIG_FILE):
        if name := read_settings(source, file_name).get("tokenizer_class"):
            return str(name)
    return None


def japanese_settings(source: EncoderSource) -> dict[str, Any]:
    """What `BertJapaneseTokenizer` needs in addition to what the checkpoint says.

    The checkpoints of 2019 and 2020 leave out what was the default when they were published: words by MeCab with
    IPADIC. transformers has changed both since (the dictionary to unidic-lite in 2024, pull request 33372), and would
    segment them otherwise than they were pretrained, without a word.

    Raises:
        EncoderError: The checkpoint's settings are damaged.
    """
    settings = read_settings(source, TOKENIZER_CONFIG_FILE)
    if not isinstance(settings.get("mecab_kwargs") or {}, dict):
        raise EncoderError(
            f"encoder {source.name!r}: mecab_kwargs in {source.folder / TOKENIZER_CONFIG_FILE} is not a table of "
            "options; download the file again"
        )
    words = settings.get("word_tokenizer_type") or "mecab"
    added: dict[str, Any] = {"word_tokenizer_type": words}
    if "subword_tokenizer_type" not in settings and (source.folder / "vocab.txt").is_file():
        pieces = (source.folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        added["subword_tokenizer_type"] = "wordpiece" if any(piece[:2] == "##" for piece in pieces) else "character"
    if words == "mecab":
        added["mecab_kwargs"] = {"mecab_dic": "ipadic"} | (settings.get("mecab_kwargs") or {})
    return added


def copy_tokenizer(source: EncoderSource, folder: Path) -> None:
    """Copy the tokenizer's files, so that transformers loads the copy with the same tokenizer: what `japanese_settings`
    adds to old checkpoints is written, and a tokenizer that transformers reads otherwise is saved again.

    Raises:
        EncoderError: A dictionary is missing, or the checkpoint's settings or files are damaged.
    """
    if tokenizer_class_name(source) == LUKE_CLASS or load_config(source).model_type == "deberta-v2":
        tokenizer = build_tokenizer(source)
        if isinstance(tokenizer, DebertaV2Tokenizer | XLMRobertaTokenizer):
            save_tokenizer(tokenizer, folder)
            return
    for name in files_of(source).tokenizer:
        shutil.copyfile(source.folder / name, folder / name)
    if tokenizer_class_name(source) != JAPANESE_CLASS:
        return
    before = read_settings(source, TOKENIZER_CONFIG_FILE)
    settings = before | {"tokenizer_class": JAPANESE_CLASS} | japanese_settings(source)
    if settings != before:
        content = json.dumps(settings, ensure_ascii=False, indent=2) + "\n"
        (folder / TOKENIZER_CONFIG_FILE).write_text(content, encoding="utf-8")


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer so that transformers loads the same one, without what it notes of how this one was loaded.

    DeBERTa-v2's class would be rebuilt without the normalisation in `tokenizer.json`, so another is named, which takes
    that file as it is.
    """
    with quiet_transformers():
        tokenizer.save_pretrained(str(folder))
    path = folder / TOKENIZER_CONFIG_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    settings = {key: value for key, value in content.items() if key not in _LOADING}
    if isinstance(tokenizer, DebertaV2Tokenizer):
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def dictionaries_of(source: EncoderSource) -> tuple[str, ...]:
    """The packages with dictionaries that the tokenizer needs, by the names of their modules, such as `"ipadic"`."""
    if tokenizer_class_name(source) != JAPANESE_CLASS:
        return ()
    settings = japanese_settings(source)
    if settings["word_tokenizer_type"] == "sudachi":
        return (_sudachi_dictionary(source),)
    dictionary = settings.get("mecab_kwargs", {}).get("mecab_dic")
    return (dictionary,) if dictionary in _DICTIONARY_PACKAGES else ()


def needed_packages(source: EncoderSource) -> dict[str, str]:
    """The names under which pip knows what the tokenizer needs besides transformers, by the modules that they hold."""
    if tokenizer_class_name(source) != JAPANESE_CLASS:
        return {}
    settings = japanese_settings(source)
    needed = dict(_SEGMENTER_PACKAGES.get(settings["word_tokenizer_type"], {}))
    if settings["word_tokenizer_type"] == "sudachi":
        needed[_sudachi_dictionary(source)] = _sudachi_dictionary(source)
    dictionary = settings.get("mecab_kwargs", {}).get("mecab_dic")
    return needed | ({dictionary: _DICTIONARY_PACKAGES[dictionary]} if dictionary in _DICTIONARY_PACKAGES else {})


def _sudachi_dictionary(source: EncoderSource) -> str:
    """The package with the dictionary that the settings name, which is also its module."""
    options = read_settings(source, TOKENIZER_CONFIG_FILE).get("sudachi_kwargs")
    return f"sudachidict_{options.get('sudachi_dict_type') or 'core' if isinstance(options, dict) else 'core'}"


def _build(source: EncoderSource, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    name = tokenizer_class_name(source)
    if name == JAPANESE_CLASS:
        _check_installed(source)
    try:
        with quiet_transformers():
            if name == JAPANESE_CLASS:
                tokenizer = BertJapaneseTokenizer.from_pretrained(
                    source.folder, local_files_only=True, **japanese_settings(source)
                )
            elif name == LUKE_CLASS:
                # transformers 5 reads its ids without the offset with which LUKE was pretrained; XLM-RoBERTa's, from
                # which it was derived, has both the offset and the normalisation of characters.
                tokenizer = XLMRobertaTokenizer.from_pretrained(source.folder, local_files_only=True)
            else:
                tokenizer = AutoTokenizer.from_pretrained(
                    source.folder, config=config, local_files_only=True, trust_remote_code=False
                )
            if isinstance(tokenizer, DebertaV2Tokenizer):
                restore_normalizer(tokenizer, source.folder)
    except Exception as error:  # each tokenizer class fails in its own way on a damaged or missing file
        raise EncoderError(
            f"encoder {source.name!r}: the tokenizer in {source.folder} can't be loaded "
            f"({type(error).__name__}: {error}); download the encoder's files again"
        ) from error
    bound_mecab(getattr(tokenizer, "word_tokenizer", None))
    return tokenizer


def _refuse_invented_tokens(source: EncoderSource, tokenizer: Any, settings: dict[str, Any]) -> None:
    """transformers gives a special token that vocab.txt lacks a new id, whose vector was never trained."""
    vocabulary = source.folder / "vocab.txt"
    added = {"tokenizer.json", "added_tokens.json"} & set(files_of(source).tokenizer)
    if added or "added_tokens_decoder" in settings or not vocabulary.is_file():
        return
    pieces = set(vocabulary.read_text(encoding="utf-8").split("\n"))
    tokens = (tokenizer.unk_token, tokenizer.pad_token, tokenizer.sep_token, tokenizer.cls_token)
    if absent := [token for token in tokens if token is not None and token not in pieces]:
        raise EncoderError(
            f"encoder {source.name!r}: {vocabulary} lacks {', '.join(absent)}; name the vocabulary's own special "
            f'tokens in {TOKENIZER_CONFIG_FILE} ("sep_token" and so on), or download the file again'
        )


def _check_installed(source: EncoderSource) -> None:
    settings = japanese_settings(source)
    needed = needed_packages(source)
    if missing := [package for module, package in needed.items() if importlib.util.find_spec(module) is None]:
        extra = "; python -m unidic download" if "unidic" in missing else ""
        raise EncoderError(
            f"encoder {source.name!r}: its tokenizer segments words with {settings['word_tokenizer_type']}, which "
            f"needs {', '.join(missing)}; run: pip install {' '.join(missing)}{extra}"
        )
    dictionary = settings.get("mecab_kwargs", {}).get("mecab_dic")
    if dictionary is not None and dictionary not in _DICTIONARY_PACKAGES:
        raise EncoderError(
            f"encoder {source.name!r}: {TOKENIZER_CONFIG_FILE} names the MeCab dictionary {dictionary!r}; "
            f"transformers has {', '.join(sorted(_DICTIONARY_PACKAGES))}"
        )
    if settings["word_tokenizer_type"] == "jumanpp" and shutil.which("jumanpp") is None:
        raise EncoderError(
            f"encoder {source.name!r}: its tokenizer needs the program jumanpp on the PATH; "
            "build it from https://github.com/ku-nlp/jumanpp"
        )
