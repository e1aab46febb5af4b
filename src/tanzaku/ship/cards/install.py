"""What has to be installed to classify with a bundle or an exported one."""

from __future__ import annotations

from pathlib import Path

from tanzaku.runtime.mecab import DICTIONARY_PACKAGES
from tanzaku.runtime.settings import TOKENIZER_FOLDER, Dictionary, MecabSettings
from tanzaku.runtime.tokens import extra_for
from tanzaku.ship.bundle import GraphBundleFacts, read_facts
from tanzaku.ship.certificate import Form

REPOSITORY = "https://github.com/tanzaku-nlp/tanzaku"
# What reads exports that Tanzaku does not read; the other packages of these come with them.
_FOLDER_PACKAGES: dict[Form, list[str]] = {
    "transformers": ["transformers", "torch"],
    "sentence-transformers": ["sentence-transformers"],
    "peft": ["peft"],
}
_ALL = "pip install './tanzaku[train]' ./tanzaku/mini"  # neither is on PyPI
_WITH_EXTRA: Dictionary = "ipadic"  # the dictionary that the extra runtime-mecab requires


def install_lines(folder: Path, form: Form, *, compact: bool = False) -> list[str]:
    """The lines for the shell; those for what Tanzaku reads are for the folder with its clone.

    Args:
        folder: The bundle's or the export's.
        form: "bundle", or what the export is for.
        compact: Whether the export needs an encoder that Tanzaku has to write for transformers first.
    """
    if compact:
        return [f"git clone {REPOSITORY}.git", _ALL]
    if form in _FOLDER_PACKAGES:
        from tanzaku.encoders.source import EncoderSource
        from tanzaku.encoders.tokenizer import needed_packages

        needed = needed_packages(EncoderSource(str(folder), folder, fingerprint=""))
        download = ["python -m unidic download"] if "unidic" in needed else []
        return [f"pip install {' '.join([*_FOLDER_PACKAGES[form], *needed.values()])}", *download]
    if form == "bundle" or not isinstance(facts := read_facts(folder), GraphBundleFacts):
        return [_ALL]
    extra = extra_for(facts.tokenizer, folder / TOKENIZER_FOLDER)
    if facts.engine == "openvino":
        extra = "openvino" if extra == "runtime" else f"openvino,{extra}"
    install = f"pip install './tanzaku[{extra}]'"
    dictionary = facts.tokenizer.dictionary if isinstance(facts.tokenizer, MecabSettings) else _WITH_EXTRA
    if dictionary == _WITH_EXTRA:
        return [install]
    download = ["python -m unidic download"] if dictionary == "unidic" else []  # it is not in the package
    return [f"{install} {DICTIONARY_PACKAGES[dictionary]}", *download]
