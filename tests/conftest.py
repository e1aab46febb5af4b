"""Fixtures that several rooms' tests share, and how the tests are dealt out to several processes."""

import gc
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.tiny import make_encoder

# No test times anything: on a busy machine an example may take as long as it likes.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, each in whichever process is free, so that none is left for the end.

    The other tests of a file stay together, so that its fixtures are made once; so do slow ones whose file gives them
    an `xdist_group`. See `make test`. Those of Ray, which are one long row, come first of all.
    """
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, not _is_of_ray(item)))
    for item in items:
        if not any(item.iter_markers("slow")) and not any(item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _is_of_ray(item: pytest.Item) -> bool:
    return any(marker.args == ("ray",) for marker in item.iter_markers("xdist_group"))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through all that was imported, again and again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of CUDA paths where there is no CUDA device; `pytest -m gpu` runs only these."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT whose checkpoint has a pooler: only the classifier is made anew."""
    return make_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_masked_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with dropout, from masked-language-model pretraining: pooler and classifier are made anew."""
    return make_encoder(tmp_path_factory.mktemp("tiny-masked-encoder"), dropout=0.1, pooler=False)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine with two CPUs, which everything uses that starts no other."""
    if "CI" not in os.environ:
        pytest.importorskip("ray", reason="needs Ray, the extra ray")
    import ray

    from tanzaku.study.engines.cluster import SETTINGS, kept_sigterm

    # Ray's workers step back for every other process, unless told not to: here, for the other tests.
    os.environ |= SETTINGS | {"RAY_worker_niceness": "0"}
    with kept_sigterm():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a run's log, but for no checkpoint or model."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs to mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have no figures, which take seconds to draw; for tests that look at the rest of a report."""
    monkeypatch.setattr("tanzaku.report.figures.figures_of", lambda data: {})


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache."""
    os.environ["TANZAKU_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _heeds_ctrl_c() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that a test starts and sends one."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
