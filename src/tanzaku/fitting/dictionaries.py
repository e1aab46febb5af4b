"""What the dictionaries weigh that a classifier needs in addition to its bundle: they are data, as an encoder is."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tanzaku.encoders.source import EncoderSource
from tanzaku.fitting.candidates import Form
from tanzaku.methods import EncoderMethod, TextMethod


def dictionary_bytes(method: EncoderMethod | TextMethod, form: Form, source: EncoderSource | None) -> int:
    """The bytes of the installed packages with the dictionaries that a bundle needs, such as MeCab's IPADIC.

    Args:
        method: Of the bundle.
        form: Of the bundle. With an adapter only, the encoder is there anyway, and so is its tokenizer's dictionary.
        source: The encoder that the method adapts.
    """
    needed = set(method.dictionaries())
    if source is not None and isinstance(method, EncoderMethod) and form != "adapter":
        from tanzaku.encoders.tokenizer import dictionaries_of

        needed |= set(dictionaries_of(source))
    return sum(map(package_bytes, sorted(needed)))


@cache
def package_bytes(module: str) -> int:
    """The bytes of an installed package's files, without what Python compiled; 0 if it is not installed."""
    found = find_spec(module)
    folders = found.submodule_search_locations if found is not None else None
    files = [path for folder in folders or () for path in Path(folder).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if path.parent.name != "__pycache__")
