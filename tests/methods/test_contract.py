"""The contract that every method keeps: one matrix over `METHODS`."""

import copy
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, DistilBertConfig

from tanzaku.encoders.load import SequenceClassifier, bare_classifier, load_classifier, resolve_encoder
from tanzaku.encoders.pooled import reading_of
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.reading import LongText, Pooling
from tanzaku.errors import MethodError
from tanzaku.methods import METHODS, EncoderMethod, TextMethod
from tanzaku.methods.peft_adapter import quiet_peft
from tanzaku.study.encoder_spec import ENCODER_SETTINGS
from tanzaku.study.spec import TrainingSpec
from tanzaku.training.batches import Batch
from tests.checkpoints import make_mecab_bert, make_roberta
from tests.forked import call
from tests.tiny import WORDS, make_documents

NAMES = sorted(WORDS)
ENCODER_METHODS: list[tuple[str, dict[str, Any]]] = [
    ("full", {}),
    ("head", {}),
    ("lora", {"rank": 2}),
    ("lora", {"rank": 4, "alpha": 16, "dropout": 0.0}),
    ("lora", {"rank": 3, "targets": ["query", "key", "value", "dense"]}),
    ("lora", {"rank": 2, "targets": ["qv", "embeddings"], "alpha": 6, "rslora": True}),
    ("lora", {"rank": 3, "targets": ["ffn", "key"], "initialization": "pissa"}),
    ("lora", {"rank": 2, "targets": "all-linear", "dora": True, "rank_pattern": {"1": 3, "output.dense": 1}}),
    ("lora", {"rank": 2, "targets": ["attention", "embeddings"], "dora": True}),
    ("lora-nested", {"ranks": [1, 3], "targets": ["qv", "output.dense"], "update": "last"}),
    ("lora+tfidf", {"rank": 2, "max_terms": 50}),
    ("adalora", {"rank": 2, "initial_rank": 4}),
    ("adalora", {"rank": 1, "initial_rank": 3, "alpha": 5, "targets": ["query", "dense"]}),
    ("qlora", {"rank": 2, "bits": 8}),
    ("qlora", {"rank": 2, "bits": 4, "targets": ["query", "dense"]}),
    ("bitfit", {}),
    ("ln-tuning", {}),
    ("ia3", {}),
    ("houlsby", {"width": 6}),
    ("pfeiffer", {"width": 5, "activation": "tanh", "norms": True}),
    ("prefix", {"length": 4}),
]
TEXT_METHODS: list[tuple[str, dict[str, Any]]] = [
    ("tfidf-svm", {}),
    ("tfidf-svm", {"analyzer": "character", "longest_ngram": 3}),
    ("tfidf-svm", {"max_terms": 20}),
    ("tfidf-svm", {"weight_bits": 8}),
    ("static", {"vectors_from": "TINY"}),  # stands for the tiny encoder's folder
    ("static", {"vectors_from": "TINY", "dimensions": 8}),
]


def test_the_matrix_covers_every_method() -> None:
    assert {name for name, _ in ENCODER_METHODS + TEXT_METHODS} == set(METHODS)


def test_no_option_is_called_as_a_training_setting() -> None:
    for name, kind in METHODS.items():
        assert not set(kind.model_fields) & (set(TrainingSpec.model_fields) | set(ENCODER_SETTINGS)), name


class Case(NamedTuple):
    """An encoder, and how its classifier reads documents."""

    folder: Path
    pooling: Pooling = "cls"
    long_text: LongText = "head"


@pytest.fixture(params=["pooler in the checkpoint", "pooler made anew"])
def plain_encoder(request: pytest.FixtureRequest, tiny_encoder: Path, tiny_masked_encoder: Path) -> Case:
    return Case(tiny_encoder if request.param == "pooler in the checkpoint" else tiny_masked_encoder)


@pytest.fixture(
    params=[
        ("pooler in the checkpoint", "cls", "head"),
        ("pooler made anew", "cls", "head"),
        ("pooler in the checkpoint", "mean", "head"),
        ("pooler made anew", "cls", "windows"),
        ("pooler made anew", "mean+max", "windows"),
    ],
    ids=" ".join,
)
def encoder(request: pytest.FixtureRequest, tiny_encoder: Path, tiny_masked_encoder: Path) -> Case:
    checkpoint, pooling, long_text = request.param
    return Case(tiny_encoder if checkpoint == "pooler in the checkpoint" else tiny_masked_encoder, pooling, long_text)


def _skip_if_unfit(name: str, case: Case) -> None:
    if not _fits(name, case):
        pytest.skip("transformers' own head can't see terms: tests/methods/test_lora_tfidf.py has the error")


def _fits(name: str, case: Case) -> bool:
    return name != "lora+tfidf" or case[1:] != ("cls", "head")


def case_for(name: str, folder: Path) -> Case:
    """The plainest one that the method fits."""
    return Case(folder) if _fits(name, Case(folder)) else Case(folder, "mean")


def _load(case: Case, *, seed: int = 0) -> SequenceClassifier:
    return copy.deepcopy(_loaded(case, seed))  # ten times faster than to load it


@lru_cache(maxsize=16)
def _loaded(case: Case, seed: int) -> SequenceClassifier:
    return load_classifier(
        resolve_encoder(str(case.folder)),
        label_names=NAMES,
        seed=seed,
        pooling=case.pooling,
        long_text=case.long_text,
    )


def _method(name: str, options: dict[str, Any]) -> EncoderMethod:
    method = METHODS[name].model_validate(options)
    assert isinstance(method, EncoderMethod)
    return method


def _inputs(model: nn.Module) -> dict[str, torch.Tensor]:
    """Six rows, of six documents or, where the model reads windows, of three."""
    ids = torch.randint(5, 20, (6, 11), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[2, 7:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if reading_of(model.config)[1] == "windows":
        inputs["documents"] = torch.tensor([0, 0, 1, 2, 2, 2])
    return inputs


def _documents(model: nn.Module) -> Batch:
    """`_inputs` with classes."""
    inputs = _inputs(model)
    labels = torch.arange(3 if "documents" in inputs else 6) % len(NAMES)
    return Batch(inputs["input_ids"], inputs["attention_mask"], labels, inputs.get("documents"))


def _rounding(options: dict[str, Any]) -> float:
    """PiSSA takes its first B·A out of the weights, and each sum of the two is rounded."""
    return 1e-5 if options.get("initialization") == "pissa" else 0.0


@torch.no_grad()
def _logits(model: nn.Module) -> torch.Tensor:
    logits: torch.Tensor = model.eval()(**_inputs(model)).logits
    return logits


def _train_a_little(model: nn.Module) -> None:
    """A few large steps, so that nothing that is trained is still as it began (LoRA's B begins at 0)."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for step in range(4):
        logits = model(**_inputs(model)).logits  # (documents, labels)
        loss = nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss), step


# A prefix takes attention from the text, whatever is in it, and fewer bits are other weights.
@pytest.mark.parametrize(
    ("name", "options"), [entry for entry in ENCODER_METHODS if entry[0] not in ("prefix", "qlora")]
)
def test_is_the_identity_at_initialisation(encoder: Case, name: str, options: dict[str, Any]) -> None:
    _skip_if_unfit(name, encoder)
    bare = _load(encoder)
    expected = _logits(bare.model)
    adapted = _method(name, options).attach(bare.model, head=bare.head)
    torch.testing.assert_close(_logits(adapted), expected, rtol=0, atol=_rounding(options))


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("full", {}),
        ("head", {}),
        ("lora", {"rank": 2, "targets": "qv"}),
        ("adalora", {"targets": "qv"}),
        ("ia3", {}),
        ("ln-tuning", {}),
    ],
)
def test_a_head_that_was_fine_tuned_for_other_labels_is_trained_saved_and_merged_as_a_whole(
    kind: str, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Of RoBERTa's and DistilBERT's, only the last layer is initialised again."""
    folder = tmp_path / "encoder"
    if kind == "roberta":
        make_roberta(folder)
        config = AutoConfig.from_pretrained(folder)
    else:
        make_mecab_bert(folder)
        vocabulary = AutoConfig.from_pretrained(folder).vocab_size
        config = DistilBertConfig(vocab_size=vocabulary, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    config.num_labels = 5
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    loaded = _load(Case(folder))
    method = _method(name, options)
    model = method.attach(loaded.model, head=loaded.head)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    declared = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    _train_a_little(model)
    changed = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert changed <= declared
    assert {key for key in declared - changed if "position" not in key and "token_type" not in key} == set()
    expected = _logits(model)
    method.save(model, tmp_path / "saved")
    fresh = _load(Case(folder))
    again = method.load(fresh.model, tmp_path / "saved", head=fresh.head)
    torch.testing.assert_close(_logits(again), expected, rtol=0, atol=1e-6)
    if method.mergeable:
        torch.testing.assert_close(_logits(method.merge(again)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), ENCODER_METHODS)
def test_trains_what_it_declares_and_nothing_else(encoder: Case, name: str, options: dict[str, Any]) -> None:
    _skip_if_unfit(name, encoder)
    loaded = _load(encoder)
    method = _method(name, options)
    bare = bare_classifier(
        AutoConfig.from_pretrained(encoder.folder),
        labels=len(NAMES),
        pooling=encoder.pooling,
        long_text=encoder.long_text,
    )
    model = method.attach(loaded.model, head=loaded.head)
    declared = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    _train_a_little(model)
    changed = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert changed <= declared
    # Every part of what is declared moves, but for embeddings' unused rows and the like, which whole tensors hide.
    assert {key for key in declared - changed if "position" not in key and "token_type" not in key} == set()
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert method.trainable_parameters(bare, head=loaded.head) == count


@pytest.mark.parametrize(("name", "options"), ENCODER_METHODS)
def test_merged_equals_unmerged(encoder: Case, name: str, options: dict[str, Any]) -> None:
    _skip_if_unfit(name, encoder)
    loaded = _load(encoder)
    kind, plain = type(loaded.model), set(loaded.model.state_dict())
    method = _method(name, options)
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    method.learn_documents(model, [_documents(model)], None)
    expected = _logits(model)
    merged = method.merge(model)
    assert type(merged) is kind
    assert (set(merged.state_dict()) == plain) == method.mergeable
    torch.testing.assert_close(_logits(merged), expected, rtol=1e-4, atol=1e-5)


def _reload(encoder: Case, folder: Path) -> None:
    """Load what every method has saved, and save its logits."""
    for number, (name, options) in enumerate(ENCODER_METHODS):
        if not _fits(name, encoder):
            continue
        loaded = _load(encoder, seed=12345)  # another seed: what is loaded must not depend on it
        model = _method(name, options).load(loaded.model, folder / str(number), head=loaded.head)
        np.save(folder / str(number) / "logits.npy", _logits(model).numpy())


def test_reloaded_in_a_fresh_process_equals_saved(encoder: Case, tmp_path: Path) -> None:
    expected = {}
    for number, (name, options) in enumerate(ENCODER_METHODS):
        if not _fits(name, encoder):
            continue
        loaded = _load(encoder)
        method = _method(name, options)
        model = method.attach(loaded.model, head=loaded.head)
        _train_a_little(model)
        method.learn_documents(model, [_documents(model)], None)
        expected[number] = _logits(model).numpy()
        method.save(model, tmp_path / str(number))
    assert not [path for path in tmp_path.glob("**/*") if path.suffix in (".bin", ".pt", ".pkl")], (
        "a pickle was written"
    )
    call(_reload, encoder, tmp_path, folder=tmp_path)
    for number, logits in expected.items():
        name, options = ENCODER_METHODS[number]
        found = np.load(tmp_path / str(number) / "logits.npy")
        tolerance = max(1e-6, _rounding(options))
        np.testing.assert_allclose(found, logits, rtol=0, atol=tolerance, err_msg=f"{name} {options}")


@pytest.mark.parametrize(("name", "options"), ENCODER_METHODS)
def test_saves_only_what_was_trained(encoder: Case, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    _skip_if_unfit(name, encoder)
    loaded = _load(encoder)
    model = _method(name, options).attach(loaded.model, head=loaded.head)
    _method(name, options).save(model, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    saved = sum(tensor.numel() for tensor in load_file(file).values())
    trained = {key: parameter.numel() for key, parameter in model.named_parameters() if parameter.requires_grad}
    # PiSSA's factors are told from their beginning: beside W, that takes the double rank.
    beginning = sum(size for key, size in trained.items() if "lora_" in key and options.get("initialization"))
    # Before there are terms, they only have a scale and an offset for each label.
    offsets = 2 * len(NAMES) if "max_terms" in options else 0
    assert saved == sum(trained.values()) + beginning + offsets
    assert file.stat().st_size > _method(name, options).bytes_per_parameter * sum(trained.values())


@pytest.mark.parametrize(("name", "options"), ENCODER_METHODS)
def test_what_does_not_fit_is_an_error(encoder: Case, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    loaded = _load(encoder)
    with pytest.raises(MethodError):
        _method(name, options).load(loaded.model, tmp_path, head=loaded.head)


@pytest.mark.parametrize(("name", "options"), [("lora", {"rank": 2}), ("adalora", {}), ("ln-tuning", {}), ("ia3", {})])
def test_an_adapter_opens_in_plain_peft(
    tmp_path: Path, plain_encoder: Case, name: str, options: dict[str, Any]
) -> None:
    from peft import PeftModel

    loaded = _load(plain_encoder)
    method = _method(name, options)
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    expected = _logits(model)
    method.save(model, tmp_path)
    with quiet_transformers():
        base = AutoModelForSequenceClassification.from_pretrained(plain_encoder.folder, num_labels=3)
    with quiet_peft(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Unsupported layer type"
        )  # LayerNorm: PEFT's own method, all the same
        opened = PeftModel.from_pretrained(base, tmp_path)
    torch.testing.assert_close(_logits(opened), expected, rtol=0, atol=1e-6)


def test_an_adapter_of_plain_peft_opens_here(tmp_path: Path, tiny_encoder: Path) -> None:
    from peft import LoraConfig, TaskType, get_peft_model

    base = _load(Case(tiny_encoder))
    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, lora_alpha=2, lora_dropout=0.1)  # as script A.3 has it
    with quiet_peft():
        theirs = get_peft_model(base.model, config)
    _train_a_little(theirs)
    expected = _logits(theirs)
    theirs.save_pretrained(tmp_path)
    fresh = _load(Case(tiny_encoder), seed=3)
    ours = _method("lora", {"rank": 2}).load(fresh.model, tmp_path, head=fresh.head)
    torch.testing.assert_close(_logits(ours), expected, rtol=0, atol=1e-6)


def test_merging_adds_the_scaled_product(tiny_encoder: Path) -> None:
    loaded = _load(Case(tiny_encoder))
    name = "bert.encoder.layer.0.attention.self.query"
    frozen = loaded.model.get_submodule(name).weight.detach().clone()
    method = _method("lora", {"rank": 2, "alpha": 6})
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    layer = model.get_submodule(f"base_model.model.{name}")
    product = layer.lora_B["default"].weight.detach() @ layer.lora_A["default"].weight.detach()  # type: ignore[union-attr, index]
    merged = method.merge(model).get_submodule(name).weight
    torch.testing.assert_close(merged, frozen + 3 * product)


def test_the_scale_is_shown() -> None:
    assert _method("lora", {"rank": 64, "alpha": 8}).details() == {"scale": 0.125}
    assert _method("lora", {"rank": 256}).details() == {"scale": 1.0}


def test_a_target_that_is_not_there_names_those_that_are(tiny_encoder: Path) -> None:
    loaded = _load(Case(tiny_encoder))
    with pytest.raises(MethodError, match=r"'q_proj'.*dense, key, query, value"):
        _method("lora", {"targets": ["q_proj"]}).attach(loaded.model, head=loaded.head)


@pytest.fixture(scope="module")
def base_shape() -> nn.Module:
    """BERT-base with 32,000 words and nine classes, without weights."""
    model: nn.Module = bare_classifier(BertConfig(vocab_size=32_000), labels=9)
    return model


@pytest.mark.parametrize("rank", [2, 4, 8, 32, 64, 128, 256])
def test_lora_on_bert_base_has_the_closed_formulas_parameters(base_shape: nn.Module, rank: int) -> None:
    layers, targets, hidden, labels = 12, 2, 768, 9
    expected = layers * targets * 2 * hidden * rank + (hidden + 1) * labels
    assert _method("lora", {"rank": rank}).trainable_parameters(base_shape, head=("classifier",)) == expected


def _text_method(name: str, options: dict[str, Any], tiny_encoder: Path) -> TextMethod:
    method = METHODS[name].model_validate(
        {key: str(tiny_encoder) if value == "TINY" else value for key, value in options.items()}
    )
    assert isinstance(method, TextMethod)
    return method


def _score(name: str, options: dict[str, Any], folder: Path) -> None:
    """Load what a text method has saved, and save its scores."""
    method = METHODS[name].model_validate(options)
    assert isinstance(method, TextMethod)
    np.save(folder / "scores.npy", method.scores(method.load(folder), make_documents(30, seed=2).texts))


@pytest.mark.parametrize(("name", "options"), TEXT_METHODS)
def test_a_text_method_round_trips_in_a_fresh_process(
    tmp_path: Path, tiny_encoder: Path, name: str, options: dict[str, Any]
) -> None:
    method = _text_method(name, options, tiny_encoder)
    train, test = make_documents(60, seed=1), make_documents(30, seed=2)
    classes = [NAMES.index(label) for label in train.labels]
    fitted = method.fit(train.texts, classes, labels=3, seed=0)
    expected = method.scores(fitted, test.texts)
    assert expected.shape == (30, 3)
    assert np.mean(expected.argmax(axis=1) == [NAMES.index(label) for label in test.labels]) > 0.9
    method.save(fitted, tmp_path)
    call(_score, name, method.model_dump(), tmp_path, folder=tmp_path)
    # Saved in float32: seven digits.
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), TEXT_METHODS)
def test_a_text_methods_parameters_are_counted(
    tmp_path: Path, tiny_encoder: Path, name: str, options: dict[str, Any]
) -> None:
    from safetensors.numpy import load_file as load_numpy

    method = _text_method(name, options, tiny_encoder)
    train = make_documents(30, seed=1)
    fitted = method.fit(train.texts, [NAMES.index(label) for label in train.labels], labels=3, seed=0)
    method.save(fitted, tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    numbers = load_numpy(weights)
    assert method.parameters(fitted) == sum(array.size for array in numbers.values())
    with pytest.raises(MethodError, match="holds no saved "):
        method.load(tmp_path / "nowhere")


def test_two_classes_have_two_scores() -> None:
    method = METHODS["tfidf-svm"]()
    assert isinstance(method, TextMethod)
    train = make_documents(40, seed=1, names=("空", "海"))
    classes = [int(label == "海") for label in train.labels]
    fitted = method.fit(train.texts, classes, labels=2, seed=0)
    scores = method.scores(fitted, train.texts)
    assert scores.shape == (40, 2)
    assert scores.argmax(axis=1).tolist() == classes


def test_the_most_frequent_terms_are_kept() -> None:
    method = METHODS["tfidf-svm"].model_validate({"max_terms": 3, "longest_ngram": 1})
    assert isinstance(method, TextMethod)
    fitted = method.fit(["空 海 海 波", "空 海 山", "空 星"], [0, 1, 1], labels=2, seed=0)
    assert set(fitted[0].vocabulary_) > {"空", "海"}
    assert len(fitted[0].vocabulary_) == 3


@pytest.mark.parametrize(("name", "options"), TEXT_METHODS)
def test_a_deterministic_text_method_learns_the_same_for_every_seed(
    tiny_encoder: Path, name: str, options: dict[str, Any]
) -> None:
    method = _text_method(name, options, tiny_encoder)
    assert method.deterministic
    train = make_documents(60, seed=1)
    classes = [NAMES.index(label) for label in train.labels]
    first, second = (method.fit(train.texts, classes, labels=len(NAMES), seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(method.scores(first, train.texts), method.scores(second, train.texts))
