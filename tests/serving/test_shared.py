"""Many bundles over one encoder: the same numbers as each bundle by itself, and the weights in memory once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tanzaku.compute import choose_compute
from tanzaku.encoders.load import resolve_encoder
from tanzaku.serving.shared import SharedEncoder
from tanzaku.serving.tasks import Tasks
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.classifier import Classifier
from tests.bundles import make_bundle
from tests.checkpoints import make_modernbert, make_roberta
from tests.serving.conftest import BUNDLES, MIXED
from tests.tiny import make_documents, make_encoder

TEXTS = list(make_documents(12, seed=9).texts)


def test_mixed_batches_equal_each_bundle_alone(bundles: dict[str, Path], tasks: Tasks) -> None:
    """Other poolings, windows and heads go through one pass; small batches cut it at other places."""
    every = [tasks.get(name) for name in MIXED]
    (pool,) = {task.pool for task in every}
    mixed = np.array(list(pool([(task.model, text) for text in TEXTS for task in every])))
    for place, name in enumerate(MIXED):
        expected = Classifier.load(bundles[name], precision="float32").scores(TEXTS)
        np.testing.assert_allclose(mixed[place :: len(MIXED)], expected, atol=1e-5, rtol=0, err_msg=name)


def test_what_can_not_be_mixed_has_its_own_pass(tasks: Tasks) -> None:
    assert {name for name in BUNDLES if tasks.get(name).shares_pass} == set(MIXED)


def test_own_passes_use_the_shared_weights(tasks: Tasks) -> None:
    """BitFit changes biases only, and DoRA's merged layers differ: everything else is the shared encoder's."""
    (shared,) = {tasks.get(name).pool for name in MIXED}
    assert isinstance(shared, SharedEncoder)
    theirs = {parameter.data_ptr() for parameter in shared.encoder.parameters()}
    for name in ("bitfit", "dora"):
        model = tasks.get(name).pool._scorer.model  # type: ignore[attr-defined]
        owned = {key for key, parameter in model.base_model.named_parameters() if parameter.data_ptr() not in theirs}
        changed = "bias" if name == "bitfit" else "weight"
        assert owned
        assert all(key.endswith(changed) or key.startswith("pooler.") for key in owned), (name, owned)


@pytest.mark.parametrize("make", [make_roberta, make_modernbert])
def test_encoders_without_the_fast_path(tmp_path: Path, make: object) -> None:
    encoder = make(tmp_path / "encoder")  # type: ignore[operator]
    targets = ["Wqkv"] if make is make_modernbert else ["query", "value"]
    folders = [
        make_bundle(tmp_path / str(rank), encoder, "lora", {"rank": rank, "targets": targets}, pooling=pooling)
        for rank, pooling in ((2, "cls"), (3, "mean"))
    ]
    tasks = Tasks(precision="float32", device="cpu")
    loaded = [tasks.load(f"rank-{folder.name}", folder) for folder in folders]
    assert all(task.shares_pass for task in loaded)
    mixed = np.array(loaded[0].pool([(task.model, text) for text in TEXTS[:6] for task in loaded]))
    for place, folder in enumerate(folders):
        expected = Classifier.load(folder, precision="float32").scores(TEXTS[:6])
        np.testing.assert_allclose(mixed[place::2], expected, atol=1e-5, rtol=0)


def test_many_adapters_take_the_memory_of_one_encoder_and_of_the_adapters(tmp_path: Path) -> None:
    """Counted in bytes of distinct tensors, so that it does not depend on the allocator."""
    encoder = make_encoder(tmp_path / "encoder", layers=1, hidden=64)
    folder = make_bundle(tmp_path / "bundle", encoder, "lora", {"rank": 2}, pooling="mean")
    bundle = open_bundle(folder)
    compute = choose_compute(device="cpu", precision="float32", attention="auto")
    shared = SharedEncoder(resolve_encoder(str(encoder)), compute=compute, batch_tokens=1024)
    tasks = [shared.add(bundle) for _ in range(20)]
    one = _bytes_of(shared, [tasks[0]])
    adapters = len(tasks) * sum(path.stat().st_size for path in (folder / "model").iterdir())
    assert _bytes_of(shared, tasks) <= 1.2 * (one + adapters)
    assert _bytes_of(shared, tasks) < 0.5 * len(tasks) * one


def _bytes_of(shared: SharedEncoder, tasks: list) -> int:  # type: ignore[type-arg]
    tensors = [*shared.encoder.parameters(), *shared.encoder.buffers(), *shared._outside.values()]
    for task in tasks:
        tensors += [factor for update in task.updates.values() for factor in (update.a, update.b)]
        tensors += [*task.head.parameters(), *task.head.buffers()]
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def test_bfloat16_gives_nearly_the_same(bundles: dict[str, Path]) -> None:
    tasks = Tasks(precision="bfloat16", device="cpu")
    task = tasks.load("mean", bundles["mean"])
    got = np.array(task.pool([(task.model, text) for text in TEXTS]))
    expected = Classifier.load(bundles["mean"], precision="float32").scores(TEXTS)
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max()
    assert isinstance(task.pool, SharedEncoder)
    assert {
        weight.dtype for name, weight in task.pool.encoder.named_parameters() if "query.base_layer.weight" in name
    } == {torch.bfloat16}
