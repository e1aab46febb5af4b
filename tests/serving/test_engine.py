"""Turns: every waiting request gets some, and what is wrong with one reaches no other."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tanzaku.serving.engine import TURN_TEXTS, Engine, LateError


class _Lengths:
    """Scores a text by its length; waits at the gate first, and notes what came together."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.turns: list[list[tuple[str, str]]] = []

    def __call__(self, items: Sequence[tuple[str, str]]) -> list[np.ndarray]:
        self.gate.wait(10)
        self.turns.append(list(items))
        if any(text == "bad" for _, text in items):
            raise ValueError("bad")
        return [np.array([len(text)], dtype=np.float32) for _, text in items]


def _later(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def _submit(pool: _Lengths, engine: Engine, texts: dict[str, list[str]]) -> dict[str, object]:
    """All requests wait before the first turn ends."""
    with ThreadPoolExecutor() as threads:
        first = threads.submit(engine.score, pool, "first", ["x"], deadline=_later())
        others = {
            name: threads.submit(engine.score, pool, name, some, deadline=_later()) for name, some in texts.items()
        }
        while engine.waiting() < 1 + sum(map(len, texts.values())):
            time.sleep(0.001)
        pool.gate.set()
        first.result()
        return {name: future.exception() or future.result() for name, future in others.items()}


def test_a_request_with_many_texts_does_not_hold_up_one_with_a_single_text() -> None:
    pool, engine = _Lengths(), Engine()
    results = _submit(pool, engine, {"many": ["ab"] * (4 * TURN_TEXTS), "single": ["abc"]})
    engine.close()
    assert [len(turn) <= TURN_TEXTS for turn in pool.turns]
    assert any(model == "single" for turn in pool.turns[:2] for model, _ in turn)
    np.testing.assert_array_equal(results["many"], np.full((4 * TURN_TEXTS, 1), 2))
    np.testing.assert_array_equal(results["single"], [[3]])


def test_a_failure_stays_with_its_request() -> None:
    pool, engine = _Lengths(), Engine()
    results = _submit(pool, engine, {"good": ["ab"], "bad": ["bad"], "other": ["a"]})
    engine.close()
    assert isinstance(results["bad"], ValueError)
    np.testing.assert_array_equal(results["good"], [[2]])
    np.testing.assert_array_equal(results["other"], [[1]])


def test_a_late_request_is_dropped_and_the_next_is_answered() -> None:
    pool, engine = _Lengths(), Engine()
    with pytest.raises(LateError, match="took longer"):
        engine.score(pool, "late", ["x"] * 100, deadline=_later(0.05))
    pool.gate.set()
    assert engine.score(pool, "next", ["abc"], deadline=_later())[0, 0] == 3
    engine.close()
    assert sum(len(turn) for turn in pool.turns) <= TURN_TEXTS + 1
    with pytest.raises(LateError, match="shutting down"):
        engine.score(pool, "after", ["x"], deadline=_later())


class _SlowToStack:
    """Scores that become an array only when the gate opens: after the engine has decided to give them."""

    def __init__(self) -> None:
        self.asked, self.gate = threading.Event(), threading.Event()

    def __call__(self, items: Sequence[tuple[str, str]]) -> list[np.ndarray]:
        return [self for _ in items]  # type: ignore[misc]

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        self.asked.set()
        self.gate.wait(10)
        return np.zeros(1, dtype=np.float32)


def test_a_request_may_give_up_while_its_scores_are_given() -> None:
    slow, pool, engine = _SlowToStack(), _Lengths(), Engine()
    pool.gate.set()
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(engine.score, slow, "late", ["x"], deadline=_later(3))
        assert slow.asked.wait(10)  # before the deadline, or the job would not be taken at all
        with pytest.raises(LateError, match="took longer"):
            late.result()
    slow.gate.set()
    assert engine.score(pool, "next", ["abc"], deadline=_later(10))[0, 0] == 3
    assert engine.is_alive()
    engine.close()


def test_no_failure_ends_the_engine() -> None:
    """Not that of counting, nor scores that are no table, which stay with their request."""

    def count(texts: int, requests: int) -> None:
        raise RuntimeError("counter")

    class Ragged(_Lengths):
        def __call__(self, items: Sequence[tuple[str, str]]) -> list[np.ndarray]:
            return [np.zeros(1 + len(text), dtype=np.float32) for _, text in items]

    pool, engine = Ragged(), Engine(observe=count)
    with pytest.raises(ValueError, match="shape"):
        engine.score(pool, "ragged", ["a", "ab"], deadline=_later(10))
    assert engine.score(pool, "next", ["abc"], deadline=_later(10)).shape == (1, 4)
    assert engine.is_alive()
    engine.close()


def test_closing_finishes_the_turn_in_progress_and_fails_the_rest() -> None:
    pool, engine = _Lengths(), Engine()
    with ThreadPoolExecutor() as threads:
        short = threads.submit(engine.score, pool, "short", ["x"], deadline=_later())
        long = threads.submit(engine.score, pool, "long", ["x"] * 1000, deadline=_later())
        while engine.waiting() < 1001:
            time.sleep(0.001)
        closing = threads.submit(engine.close)
        while engine.is_alive():
            time.sleep(0.001)
        pool.gate.set()
        closing.result()
        errors = [type(one.exception()) for one in (short, long)]
    assert LateError in errors
    assert sum(len(turn) for turn in pool.turns) <= TURN_TEXTS
    assert "shutting down" in str(long.exception())
