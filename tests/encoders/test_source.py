import shutil
from pathlib import Path

import pytest

import tanzaku.encoders
from tanzaku.encoders.files import select_files
from tanzaku.encoders.source import EncoderSource, resolve_encoder, warn_of_revision
from tanzaku.errors import EncoderError, TanzakuWarning
from tests.checkpoints import make_mecab_bert


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return make_mecab_bert(tmp_path / "bert")


def test_a_folder_is_used_as_it_is(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = resolve_encoder(str(bert))
    assert (source.name, source.folder) == (str(bert), bert)
    monkeypatch.chdir(bert.parent)
    for name in ("bert", "./bert", "../" + bert.parent.name + "/bert"):
        assert (resolve_encoder(name).name, resolve_encoder(name).folder) == (str(bert), bert)


def test_the_fingerprint_follows_what_is_read_and_nothing_else(bert: Path, tmp_path: Path) -> None:
    first = resolve_encoder(str(bert)).fingerprint
    assert len(first) == 64
    copy = tmp_path / "copy"
    shutil.copytree(bert, copy)
    for unread in ("README.md", "tf_model.h5", "pytorch_model.bin", "onnx"):
        (copy / unread).write_text("x", encoding="utf-8")
    assert resolve_encoder(str(copy)).fingerprint == first
    seen = {first}
    for read in ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"):
        content = (copy / read).read_bytes()
        (copy / read).write_bytes(content + b"\n")
        seen.add(resolve_encoder(str(copy)).fingerprint)
        (copy / read).write_bytes(content)
    assert len(seen) == 5


def test_only_one_format_of_the_weights_is_chosen() -> None:
    both = ["config.json", "vocab.txt", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"]
    files = select_files(both, where="it")
    assert (files.weights_format, files.weights) == ("safetensors", ("model.safetensors",))
    assert files.names == ("config.json", "model.safetensors", "vocab.txt")
    shards = ["config.json", *(f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2))]
    files = select_files([*shards, "pytorch_model.bin.index.json", "training_args.bin"], where="it")
    assert files.weights_format == "pytorch"
    assert set(files.names) == {*shards, "pytorch_model.bin.index.json"}


def test_a_folder_that_is_no_checkpoint_says_what_is_missing(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "tf_model.h5")
    with pytest.raises(EncoderError, match=r"no weights in model.safetensors or pytorch_model.bin: it has tf_model.h5"):
        resolve_encoder(str(bert))
    (bert / "tf_model.h5").unlink()
    with pytest.raises(EncoderError, match="it has none at all"):
        resolve_encoder(str(bert))
    (bert / "config.json").unlink()
    with pytest.raises(EncoderError, match=r"has no config.json, so it is not a Hugging Face checkpoint"):
        resolve_encoder(str(bert))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="safetensors-sharded")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"model-00002-of-00002.safetensors is missing"):
        resolve_encoder(str(folder))


def test_a_git_lfs_pointer_is_recognised(bert: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (bert / "model.safetensors").write_text(pointer, encoding="utf-8")
    with pytest.raises(EncoderError, match=r"is a Git LFS pointer, not the weights; run `git lfs pull`"):
        resolve_encoder(str(bert))


@pytest.mark.parametrize("name", ["~nobody-of-this-name/encoder", "長" * 300, "a\0b"])
def test_a_name_that_no_folder_can_have_is_an_error_of_ours(name: str) -> None:
    with pytest.raises(EncoderError, match="encoder"):
        resolve_encoder(name)


def test_a_revision_is_for_the_hub(bert: Path) -> None:
    for name in (str(bert), "tanzaku-mini"):
        with pytest.warns(TanzakuWarning, match="is not from the Hub, so the revision 'v2' has no effect"):
            warn_of_revision(resolve_encoder(name, revision="v2"), "v2")
    warn_of_revision(EncoderSource("owner/name", bert, fingerprint=""), "v2")


def test_the_embedded_name_is_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tanzaku-mini").mkdir()  # a folder of the same name does not take its place
    monkeypatch.chdir(tmp_path)
    mini = Path(tanzaku.encoders.__file__).parent / "mini"
    if (mini / "config.json").is_file():
        assert resolve_encoder("tanzaku-mini").folder == mini
    else:
        with pytest.raises(EncoderError, match="'tanzaku-mini' is not part of this installation"):
            resolve_encoder("tanzaku-mini")
