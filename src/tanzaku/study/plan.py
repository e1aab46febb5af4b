"""From a study to runs that are ready to be made: everything that can be wrong is found here, before anything long."""

from dataclasses import dataclass
from pathlib import Path

from tanzaku.data.dataset import Dataset
from tanzaku.encoders.load import EncoderSource, bare_classifier, check_max_tokens, load_config, resolve_encoder
from tanzaku.errors import MethodError, SpecError
from tanzaku.methods import EncoderMethod
from tanzaku.study.engine import PlannedRun
from tanzaku.study.run import tokenized_splits
from tanzaku.study.spec import RunSpec, StudySpec, expand


@dataclass(frozen=True)
class Plan:
    """A study's runs, in the order in which they are made."""

    study: str
    dataset: Dataset
    runs: list[PlannedRun]


def plan_study(study: StudySpec, *, dataset: Dataset, out: Path, progress: bool = False) -> Plan:
    """Fetch the encoder, tokenise the documents (once, into the cache), and check every arm against both.

    Args:
        study: The study.
        dataset: Its data, loaded.
        out: Each run gets a folder in it.
        progress: Show a bar for the tokenisation.

    Raises:
        EncoderError: The encoder can't be found or used.
        SpecError: An arm does not fit the encoder; the message names the arm.
    """
    specs = expand(study)
    encoder = _prepare_encoder(specs, dataset, progress=progress)
    fingerprint = encoder.fingerprint if encoder else None
    runs = []
    for spec in specs:
        run_id = spec.run_id(data_fingerprint=dataset.fingerprint, encoder_fingerprint=fingerprint)
        runs.append(PlannedRun(spec, out / run_id, encoder if spec.encoder else None))
    return Plan(study.name, dataset, runs)


def _prepare_encoder(specs: list[RunSpec], dataset: Dataset, *, progress: bool) -> EncoderSource | None:
    with_encoder = [spec for spec in specs if spec.encoder is not None]
    if not with_encoder:
        return None
    settings = with_encoder[0].encoder
    assert settings is not None
    encoder = resolve_encoder(settings.name, revision=settings.revision)
    config = load_config(encoder)
    check_max_tokens(config, settings.max_tokens)
    bare = bare_classifier(config, labels=len(dataset.label_names))
    for spec in with_encoder:
        assert isinstance(spec.method, EncoderMethod)
        try:
            spec.method.trainable_parameters(bare, head=())
        except MethodError as error:
            raise SpecError(f"the encoder {settings.name} and an arm do not go together: {error}") from error
    tokenized_splits(with_encoder[0], dataset, encoder, progress=progress)
    return encoder
