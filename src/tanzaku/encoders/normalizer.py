"""How a SentencePiece model normalises texts, which transformers 5 leaves out of DeBERTa-v2's tokenizer."""

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers

_TOKENIZER_FILE, _MODEL_FILE = "tokenizer.json", "spm.model"


def restore_normalizer(tokenizer: Any, folder: Path) -> None:
    """Let a `DebertaV2Tokenizer` normalise texts as its own files say.

    transformers rebuilds this class, with Unicode's NFC for every vocabulary. Where the model was trained on NFKC,
    as SentencePiece does unless told otherwise, full-width digits, half-width katakana and ideographic spaces would be
    unknown tokens.

    Args:
        tokenizer: Changed in place.
        folder: With `tokenizer.json` or `spm.model`.
    """
    backend = tokenizer.backend_tokenizer
    if (folder / _TOKENIZER_FILE).is_file():
        backend.normalizer = Tokenizer.from_file(str(folder / _TOKENIZER_FILE)).normalizer
    elif (folder / _MODEL_FILE).is_file():
        backend.normalizer = _normalizer_of(folder / _MODEL_FILE, lower=tokenizer.do_lower_case)


def _normalizer_of(model: Path, *, lower: bool) -> normalizers.Normalizer:
    """That of a SentencePiece model: its map of characters, then its treatment of spaces."""
    # Only here: it needs a protobuf that is as new as itself.
    from sentencepiece import sentencepiece_model_pb2

    content = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    content.ParseFromString(model.read_bytes())
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if lower else []
    if charsmap := content.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(charsmap))
    if content.normalizer_spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps)
