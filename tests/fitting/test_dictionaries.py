"""What the dictionaries weigh that classifiers need."""

from importlib.metadata import files
from pathlib import Path

from tanzaku.encoders.source import resolve_encoder
from tanzaku.fitting.dictionaries import dictionary_bytes, package_bytes
from tanzaku.methods import METHODS


def test_words_need_the_installed_dictionary_and_characters_none() -> None:
    installed = [
        one.locate() for one in files("ipadic") or () if one.parts[0] == "ipadic" and "__pycache__" not in one.parts
    ]
    weight = sum(Path(str(one)).stat().st_size for one in installed)
    assert weight > 50_000_000
    words, characters = (METHODS["tfidf-svm"].model_validate({"analyzer": one}) for one in ("mecab", "character"))
    assert dictionary_bytes(words, "text", None) == package_bytes("ipadic") == weight
    assert dictionary_bytes(characters, "text", None) == 0
    assert package_bytes("no_such_dictionary") == 0


def test_an_encoder_that_reads_words_needs_its_dictionary_unless_it_is_there_anyway(tiny_encoder: Path) -> None:
    source, embedded = resolve_encoder(str(tiny_encoder)), resolve_encoder("tanzaku-mini")
    lora = METHODS["lora"]()
    assert [dictionary_bytes(lora, form, source) for form in ("int4", "stored")] == 2 * [package_bytes("ipadic")]
    assert dictionary_bytes(lora, "adapter", source) == 0
    assert dictionary_bytes(lora, "stored", embedded) == 0
    static = [METHODS["static"].model_validate({"vectors_from": one}) for one in (str(tiny_encoder), "tanzaku-mini")]
    assert [dictionary_bytes(one, "text", embedded) for one in static] == [package_bytes("ipadic"), 0]
