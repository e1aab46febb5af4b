"""What has to be installed to classify with a bundle or an exported one."""

from __future__ import annotations

from pathlib import Path

from tanzaku.runtime.mecab import DICTIONARY_PACKAGES
from tanzaku.runtime.settings import TOKENIZER_FOLDER, Dictionary, MecabSettings
from tanzaku.runtime.tokens import extra_for
from tanzaku.ship.bundle import BUNDLE_FILE, GraphBundleFacts, read_facts

_WITH_EXTRA: Dictionary = "ipadic"  # the dictionary that the extra runtime-mecab requires


def install_lines(folder: Path) -> list[str]:
    """The lines for the shell, in the folder with Tanzaku's clone; none for exports that Tanzaku does not read.

    Args:
        folder: The bundle's or the export's.
    """
    if not (folder / BUNDLE_FILE).is_file():
        return []
    facts = read_facts(folder)
    if not isinstance(facts, GraphBundleFacts):
        return ["pip install './tanzaku[train]' ./tanzaku/mini"]  # neither is on PyPI
    extra = extra_for(facts.tokenizer, folder / TOKENIZER_FOLDER)
    if facts.engine == "openvino":
        extra = "openvino" if extra == "runtime" else f"openvino,{extra}"
    install = f"pip install './tanzaku[{extra}]'"
    dictionary = facts.tokenizer.dictionary if isinstance(facts.tokenizer, MecabSettings) else _WITH_EXTRA
    if dictionary == _WITH_EXTRA:
        return [install]
    download = ["python -m unidic download"] if dictionary == "unidic" else []  # it is not in the package
    return [f"{install} {DICTIONARY_PACKAGES[dictionary]}", *download]
