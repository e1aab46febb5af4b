import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tanzaku.encoders.load import load_classifier, resolve_encoder
from tanzaku.encoders.quantized import quantize_matrices
from tanzaku.encoders.weights import read_weights
from tanzaku.errors import EncoderError
from tests.checkpoints import make_mecab_bert, make_roberta, write_json


class _TouchesAMarker:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin")
    marker = tmp_path / "marker"
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(weights | {"extra": _TouchesAMarker(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"was not read: it is a pickle that holds more than tensors.*Nothing in it"):
        load_classifier(resolve_encoder(str(folder)), label_names=("a", "b"), seed=1)
    assert not marker.exists()
    # The file does what it was made for: an ordinary loader runs it.
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert marker.exists()


def test_a_bare_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin")
    marker = tmp_path / "marker"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_TouchesAMarker(marker)))
    with pytest.raises(EncoderError, match="Nothing in it was run"):
        read_weights(resolve_encoder(str(folder)))
    assert not marker.exists()


def test_a_malicious_shard_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin-sharded")
    marker = tmp_path / "marker"
    torch.save({"extra": _TouchesAMarker(marker)}, folder / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(EncoderError, match=r"pytorch_model-00002-of-00002.bin was not read"):
        read_weights(resolve_encoder(str(folder)))
    assert not marker.exists()


def test_the_format_of_before_pytorch_1_6_loads(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    read = read_weights(resolve_encoder(str(folder)))
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def test_matrices_in_columns_become_matrices_in_rows(tmp_path: Path) -> None:
    """As checkpoints that were converted from TensorFlow have them; safetensors stores only rows."""
    folder = make_mecab_bert(tmp_path / "bert", layout="bin")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    in_columns = {name: one.t().contiguous().t() if one.ndim == 2 else one for name, one in weights.items()}
    assert not all(one.is_contiguous() for one in in_columns.values())
    torch.save(in_columns, folder / "pytorch_model.bin")
    read = read_weights(resolve_encoder(str(folder)))
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    assert all(one.is_contiguous() for one in read.values())


def test_a_training_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin")
    torch.save({"model": {"weight": torch.ones(2)}, "epoch": 3}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="holds more than tensors by name"):
        read_weights(resolve_encoder(str(folder)))
    torch.save([torch.ones(2)], folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="holds a list, not tensors by name"):
        read_weights(resolve_encoder(str(folder)))


@pytest.mark.parametrize("layout", ["safetensors", "bin"])
@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_cut_off_weights_are_named(tmp_path: Path, layout: str, keep: int) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout=layout)
    path = folder / {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[layout]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EncoderError, match=rf"{path.name} (is damaged or incomplete|was not read)"):
        read_weights(resolve_encoder(str(folder)))


def test_every_cut_of_the_format_of_before_pytorch_1_6_is_named(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin")
    path, source = folder / "pytorch_model.bin", resolve_encoder(str(folder))
    torch.save({"weight": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    for length in range(0, len(content), 3):
        path.write_bytes(content[:length])
        with pytest.raises(EncoderError, match=r"pytorch_model.bin (is damaged or incomplete|was not read)"):
            read_weights(source)


@pytest.mark.parametrize("shard", ["../../secret.bin", "other.bin", 5])
def test_an_index_does_not_lead_out_of_the_folder(tmp_path: Path, shard: Any) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin-sharded")
    write_json(folder / "pytorch_model.bin.index.json", {"weight_map": {"a": shard}})
    with pytest.raises(EncoderError, match=r"which is not a weight file next to it|is not an index"):
        resolve_encoder(str(folder))


def test_the_model_does_not_follow_the_file(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    source = resolve_encoder(str(folder))
    model = load_classifier(source, label_names=("a", "b"), seed=1).model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with (folder / "model.safetensors").open("r+b") as handle:
        handle.seek(-4096, os.SEEK_END)
        handle.write(b"\x3f" * 4096)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_in_few_bits_that_do_not_fit_their_scales_are_named(tmp_path: Path) -> None:
    folder = make_roberta(tmp_path / "encoder")
    weights = quantize_matrices(load_file(folder / "model.safetensors"), head=())
    scales = next(name for name in weights if name.endswith(".int8_scales"))
    save_file(weights | {scales: torch.ones(7, 3)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="quantized weights do not match their scales"):
        read_weights(resolve_encoder(str(folder)))
