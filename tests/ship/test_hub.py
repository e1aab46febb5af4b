"""`tanzaku push` and `hf://` against a server on this machine, with the Hub's own client."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.cli.serve import _named as named_bundles
from tanzaku.errors import BundleError, TanzakuWarning
from tanzaku.ship.bundle import open_bundle, read_facts
from tanzaku.ship.cards.write import write_card
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.hub import bundle_folder, push
from tests.bundles import DATASET, make_bundle
from tests.encoders.hub_server import Hub, serve

NAME = "our-group/classifier"
_FILES = "{}/{{repo_id}}/resolve/{{revision}}/{{filename}}"  # as the client writes it where it reads its settings
# The client's own, about how it sends files.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that needs nothing else."""
    folder = tmp_path_factory.mktemp("bundle")
    return make_bundle(folder / "b", folder, "tfidf-svm", {"analyzer": "character"})


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """One that can be changed, with its card."""
    folder = tmp_path / "my-bundle"
    shutil.copytree(made, folder)
    write_card(folder, read_facts(folder))
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve() as server:
        server.storage = tmp_path / "hub"
        server.writers["secret"] = {"our-group"}
        for name in ("HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_TOKEN", "secret")
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", _FILES.format(server.url))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_goes_to_the_hub_and_back(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    done = _run("push", bundle, NAME, "--private")
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert done.stdout == f"{hub.url}/{NAME}\n"
    assert f"Next: tanzaku classify hf://{NAME} TEXT" in done.stderr
    there = hub.repositories[NAME]
    assert _files(there) == _files(bundle) | {".gitattributes"}
    assert hub.private == {NAME}
    for name in _files(bundle):
        assert (there / name).read_bytes() == (bundle / name).read_bytes()
    (there / "evil.pkl").write_bytes(b"never fetched")

    classified = _run("classify", f"hf://{NAME}", "海に船がある。", "--format", "jsonl")
    assert classified.exit_code == 0, (classified.stderr, classified.exception)
    assert json.loads(classified.stdout)["label"] == Classifier.load(bundle)(["海に船がある。"])[0].label
    fetched = bundle_folder(f"hf://{NAME}")
    assert open_bundle(fetched).facts == open_bundle(bundle).facts
    assert ModelCard.load(fetched / "README.md").data.language == "ja"
    assert "evil.pkl" not in _files(fetched)
    assert _run("inspect", f"hf://{NAME}").exit_code == 0
    labelled = tmp_path / "labelled.csv"
    labelled.write_text(f"text,label\n海,{DATASET.label_names[0]}\n", encoding="utf-8")
    assert _run("evaluate", f"hf://{NAME}", labelled).exit_code == 0


def test_every_command_that_takes_a_bundle_takes_an_address(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    push(bundle, NAME)
    address = f"hf://{NAME}"
    done = _run("export", address, "--to", "onnx", "--out", tmp_path / "onnx")
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert open_bundle(tmp_path / "onnx").facts.label_names == DATASET.label_names
    assert _run("push", address, "our-group/copy").exit_code == 0
    assert _files(hub.repositories["our-group/copy"]) == _files(bundle) | {".gitattributes"}
    refused = _run("compress", address, "--rank", 1, "--out", tmp_path / "small")
    assert "which has no ranks to cut" in str(refused.exception)
    named = named_bundles([address, f"news={address}@main"])
    assert set(named) == {"classifier", "news"}
    assert set(map(_names_of, named.values())) == {read_facts(bundle).label_names}
    missing = _run("export", "our-group/none", "--to", "onnx", "--out", tmp_path / "none")
    assert "or hf://our-group/none for one on the Hub" in str(missing.exception)


def _names_of(folder: Path) -> tuple[str, ...]:
    return open_bundle(folder).facts.label_names


def test_without_a_connection_the_cache_is_used(hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(bundle, NAME)
    fetched = bundle_folder(f"hf://{NAME}")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.warns(TanzakuWarning, match=r":9 can't be reached.*; the copy in the Hub's cache is used"):
        assert bundle_folder(f"hf://{NAME}") == fetched
    weights = fetched / "model" / "weights.safetensors"
    kept = weights.read_bytes()
    weights.unlink()  # as if the connection had broken off
    with pytest.raises(
        BundleError, match=r":9 can't be reached.*, and the Hub's cache lacks model/weights\.safetensors"
    ):
        bundle_folder(f"hf://{NAME}")
    weights.write_bytes(kept)
    with pytest.raises(BundleError, match=r"the bundle hf://our-group/other can't be fetched: .*:9 can't be reached"):
        bundle_folder("hf://our-group/other")
    with pytest.raises(BundleError, match=r"was not uploaded to .*: http://127.0.0.1:9 can't be reached"):
        push(bundle, NAME)


def test_what_the_hub_refuses_is_not_taken_from_the_cache(
    hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older copy would give the labels of an older classifier."""
    push(bundle, NAME)
    bundle_folder(f"hf://{NAME}")
    shutil.rmtree(hub.repositories.pop(NAME))
    with pytest.raises(BundleError, match=rf"the bundle hf://{NAME} can't be fetched: "):
        bundle_folder(f"hf://{NAME}")


def test_what_is_there_is_only_replaced_on_request(hub: Hub, bundle: Path) -> None:
    push(bundle, NAME)
    with pytest.raises(BundleError, match="already contains a bundle; choose another name, or use --force"):
        push(bundle, NAME)
    (hub.repositories[NAME] / "model" / "old.txt").write_text("of an older bundle", encoding="utf-8")
    (bundle / "README.md").write_text("---\nlicense: mit\n---\nedited", encoding="utf-8")
    push(bundle, NAME, force=True)
    assert _files(hub.repositories[NAME]) == _files(bundle) | {".gitattributes"}
    assert (bundle_folder(f"hf://{NAME}") / "README.md").read_text(encoding="utf-8").endswith("edited")
    with pytest.raises(BundleError, match="exists already and is public; make it private on the Hub"):
        push(bundle, NAME, force=True, private=True)
    (hub.repositories[NAME] / "LICENSE").write_text("mine", encoding="utf-8")
    push(bundle, NAME, force=True)
    assert (hub.repositories[NAME] / "LICENSE").is_file()
    (hub.repositories[NAME] / "manifest.json").write_text('{"name": "a web application"}', encoding="utf-8")
    with pytest.raises(BundleError, match="contains something that is not a bundle or an export"):
        push(bundle, NAME, force=True)
    (hub.repositories[NAME] / "manifest.json").unlink()
    with pytest.raises(BundleError, match="contains something that is not a bundle or an export"):
        push(bundle, NAME, force=True)


def test_a_card_is_only_replaced_on_request_and_never_removed(hub: Hub, bundle: Path) -> None:
    push(bundle, NAME)
    there = hub.repositories[NAME]
    for path in (there / name for name in _files(there) - {"README.md", ".gitattributes"}):
        path.unlink()
    (there / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError, match=r"already contains a model card \(README\.md\); choose another name, or use"):
        push(bundle, NAME)
    assert _files(there) == {"README.md", ".gitattributes"}
    card = (bundle / "README.md").read_bytes()
    (bundle / "README.md").unlink()
    push(bundle, NAME)
    push(bundle, NAME, force=True)
    assert (there / "README.md").read_text(encoding="utf-8") == "mine"
    assert _files(there) == _files(bundle) | {"README.md", ".gitattributes"}
    (bundle / "README.md").write_bytes(card)
    push(bundle, NAME, force=True)
    assert (there / "README.md").read_bytes() == card


def test_a_branch_is_made_and_can_be_named(hub: Hub, bundle: Path) -> None:
    push(bundle, NAME)
    (bundle / "README.md").write_text("---\nlicense: mit\n---\nsecond", encoding="utf-8")
    done = _run("push", bundle, NAME, "--revision", "v2")
    assert done.stdout == f"{hub.url}/{NAME}/tree/v2\n", done.exception
    first, second = (bundle_folder(f"hf://{NAME}{at}") / "README.md" for at in ("", "@v2"))
    assert second.read_text(encoding="utf-8").endswith("second")
    assert not first.read_text(encoding="utf-8").endswith("second")
    with pytest.raises(BundleError, match=r"hf://our-group/classifier at revision 'v3' can't be fetched: .*revision"):
        bundle_folder(f"hf://{NAME}@v3")


def _damage(bundle: Path) -> None:
    (bundle / "bundle.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"), [(_damage, "is damaged: the SHA-256 of bundle.json"), (shutil.rmtree, "no such folder")]
)
def test_what_is_damaged_is_not_uploaded(hub: Hub, bundle: Path, change: Callable[[Path], None], message: str) -> None:
    change(bundle)
    with pytest.raises(BundleError, match=message):
        push(bundle, NAME)
    assert hub.requests == []


def test_a_dry_run_connects_to_nothing(hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    (bundle / "README.md").unlink()
    done = _run("push", bundle, NAME, "--dry-run")
    assert done.exit_code == 0, done.exception
    assert "would be uploaded:" in done.stderr
    assert "  model/weights.safetensors\n" in done.stderr
    assert "warning: There is no model card (README.md)" in done.stderr
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "name", "message"),
    [
        ("", NAME, r"needs a token with write access; log in with `hf auth login`, or set HF_TOKEN"),
        ("wrong", NAME, r"does not accept the token; log in again"),
        ("secret", "others/classifier", r"the token may not write to others/classifier \(.*you may not create"),
        ("secret", "classifier", r"'classifier' is not a name on the Hub; write it as owner/name"),
    ],
)
def test_what_the_hub_refuses_is_one_error_with_the_remedy(
    hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch, token: str, name: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(BundleError, match=message):
        push(bundle, name)
    assert hub.repositories == {}


def test_a_download_is_verified_and_what_is_no_bundle_is_refused(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    push(bundle, NAME)
    (hub.repositories[NAME] / "model" / "weights.safetensors").write_bytes(b"changed on the way")
    with pytest.raises(BundleError, match=r"is damaged: the SHA-256 of model/weights\.safetensors"):
        Classifier.load(f"hf://{NAME}")
    hub.repositories["our-group/plain"] = tmp_path / "plain"
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(BundleError, match=r"hf://our-group/plain is not a bundle: manifest\.json is missing"):
        bundle_folder("hf://our-group/plain")
    with pytest.raises(BundleError, match=r"hf://one is not the address of a bundle; write it as hf://owner/name"):
        bundle_folder("hf://one")
    with pytest.raises(BundleError, match=r"there is no such folder; .* or hf://owner/name for one on the Hub"):
        open_bundle("owner/name")


def test_a_folder_of_this_machine_in_a_bundle_is_pointed_out(hub: Hub, tiny_encoder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "adapter", tiny_encoder, "head", {})
    (note, no_card) = push(bundle, NAME, dry_run=True).notes
    assert f"the encoder's folder on this machine, {tiny_encoder}, which others do not have" in note
    assert "There is no model card" in no_card
