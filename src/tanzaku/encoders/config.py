"""An encoder's configuration, read without running anything from the checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from tanzaku.encoders.files import CONFIG_FILE
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.source import EncoderSource, read_settings
from tanzaku.errors import EncoderError

# What transformers' configurations of BERT's family call them.
_HIDDEN_DROPOUTS = (
    "hidden_dropout_prob",
    "dropout",
    "embedding_dropout",
    "mlp_dropout",
    "pooler_dropout",
    "summary_last_dropout",
    "classifier_dropout",
    "classifier_dropout_prob",
    "seq_classif_dropout",
    "cls_dropout",
)
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")


def load_config(source: EncoderSource) -> PretrainedConfig:
    """The encoder's configuration.

    Raises:
        EncoderError: It asks for code of its own, or names no architecture that transformers has.
    """
    settings = read_settings(source, CONFIG_FILE)
    _refuse_code(settings, source)
    model_type = settings.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING_NAMES:
        wrong = (
            f"the model_type {model_type!r}, which this transformers does not have" if model_type else "no model_type"
        )
        raise EncoderError(
            f"encoder {source.name!r}: {source.folder / CONFIG_FILE} names {wrong}; "
            'write the right one into it (a BERT is "model_type": "bert"), install a newer transformers, '
            "or choose another encoder"
        )
    if "quantization_config" in settings:
        raise EncoderError(f"encoder {source.name!r} is quantised, and Tanzaku trains full weights; use the original")
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)
        config._attn_implementation = None  # this machine decides how attention is computed, not the checkpoint
        return config
    except Exception as error:  # transformers checks each architecture's fields in its own way
        raise EncoderError(
            f"encoder {source.name!r}: {source.folder / CONFIG_FILE} can't be used ({error}); download it again"
        ) from error


def _refuse_code(settings: dict[str, object], source: EncoderSource) -> None:
    if "auto_map" in settings:
        raise EncoderError(
            f"encoder {source.name!r} brings Python code of its own (auto_map in {CONFIG_FILE}), and Tanzaku never "
            "runs code from a checkpoint; choose an encoder whose architecture is part of transformers, or, if this "
            'one\'s model_type is, copy its folder and delete "auto_map" from the copy'
        )


def has_hidden_dropout(config: PretrainedConfig) -> bool:
    """Whether `dropout_set` can set the dropout on hidden states of models made from `config`."""
    return any(getattr(config, name, None) is not None for name in _HIDDEN_DROPOUTS)


def restore_dropout(config: PretrainedConfig, original: PretrainedConfig) -> None:
    """Put the dropout probabilities of `original` into `config`, a copy that transformers made in `dropout_set`."""
    for name in (*_HIDDEN_DROPOUTS, *_ATTENTION_DROPOUTS):
        if hasattr(original, name):
            setattr(config, name, getattr(original, name))


@contextmanager
def dropout_set(config: PretrainedConfig, *, hidden: float | None, attention: float | None) -> Iterator[None]:
    """While this lasts, models made from `config` have these dropout probabilities; None leaves the configuration's."""
    wanted = [(_HIDDEN_DROPOUTS, hidden), (_ATTENTION_DROPOUTS, attention)]
    before = {name: getattr(config, name) for names, _ in wanted for name in names if hasattr(config, name)}
    for names, probability in wanted:
        for name in names:
            if probability is not None and before.get(name) is not None:
                setattr(config, name, probability)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)
