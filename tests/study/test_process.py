"""Ctrl-C reaches every process of the terminal; only the one that a person started has something to say about it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tanzaku.study.process import INTERRUPTED, Child, DeadlineOver, StartedChild, first_to_end, run_child

_ROOT = Path(__file__).parents[2]
_PROGRAM = """
from tanzaku.study import process
from tests.study.test_process import interrupt_itself

process._PRELOADED[:] = ["tanzaku.study.server", "tests.study.interrupted_import"]
print(process.run_child(interrupt_itself, name="child").status)
"""


def interrupt_itself(child: Child) -> int:
    """The work of a child that a Ctrl-C reaches as well."""
    os.kill(os.getpid(), signal.SIGINT)
    return INTERRUPTED if child.asked_to_stop() else 0


def stop_again_and_again(child: Child) -> int:
    """The work of a child that is asked to stop once more at every call that the handler makes."""
    sys.setprofile(lambda *_: signal.raise_signal(signal.SIGTERM))
    signal.raise_signal(signal.SIGTERM)
    sys.setprofile(None)
    return INTERRUPTED if child.asked_to_stop() else 0


def count_threads(child: Child) -> int:
    """The work of a child that says with how many threads PyTorch computes."""
    import torch

    child.complain(f"{torch.get_num_threads()} of {os.environ['OMP_NUM_THREADS']}")
    return 0


def test_a_child_computes_with_the_threads_that_its_parent_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with those that it had when the process was started that all children are forked from."""
    told = []
    for threads in ("2", "1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        told.append(run_child(count_threads, name="child").complaint)
    assert told == ["2 of 2", "1 of 1", "3 of 3"]


@pytest.mark.timeout(600)
def test_a_second_signal_may_come_while_the_first_is_handled() -> None:
    """As when one is sent to a whole process group, and the study passes its own on."""
    child = StartedChild(stop_again_and_again, {}, name="child")
    try:
        first_to_end([child], deadline=time.monotonic() + 300)
    except DeadlineOver:
        pytest.fail("the handler waits for itself")
    finally:
        child.kill()
    assert child.join().status == INTERRUPTED


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no server process")
def test_ctrl_c_while_the_server_process_imports_is_no_traceback() -> None:
    made = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.stderr == ""
    assert made.stdout == f"{INTERRUPTED}\n"
