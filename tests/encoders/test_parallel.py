"""Tokenising in several processes: the same ids in the same order, and one process where several can't be."""

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from tanzaku.encoders import tokens
from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.encoders.parallel import map_chunks
from tanzaku.encoders.tokens import TokenizedDocuments, tokenize
from tanzaku.errors import DataError, TanzakuWarning
from tanzaku.processes import without_main
from tanzaku.study.process import process_context
from tests.checkpoints import make_mecab_bert, sentences
from tests.encoders.chunk_work import deadly_encoder, make_work


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(resolve_encoder(str(make_mecab_bert(tmp_path_factory.mktemp("encoder") / "bert"))))


@pytest.fixture
def many() -> tuple[str, ...]:
    """Texts of all lengths, an empty one and one that spells out a special token among them."""
    pieces = sentences()
    return tuple("".join(pieces[: number % 7]) + ("[SEP]" * (number % 11 == 0)) for number in range(300))


def _alone(monkeypatch: pytest.MonkeyPatch, tokenizer: Any, texts: tuple[str, ...]) -> TokenizedDocuments:
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "_workers", lambda *_: 1)
        return tokenize(tokenizer, texts, max_tokens=40)


def _equal(one: TokenizedDocuments, other: TokenizedDocuments) -> bool:
    return bool(np.array_equal(one.ids, other.ids) and np.array_equal(one.offsets, other.offsets))


def test_several_processes_give_the_same_ids_in_order(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Any, many: tuple[str, ...]
) -> None:
    alone = _alone(monkeypatch, tokenizer, many)
    reference = [tokenizer(text, truncation=True, max_length=40)["input_ids"] for text in many]
    assert [alone[index].tolist() for index in range(len(alone))] == reference
    monkeypatch.setattr(tokens, "_workers", lambda *_: 2)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("tanzaku.encoders.tokens.plain_console", lambda **_: console)
    assert _equal(tokenize(tokenizer, many, max_tokens=40, progress=True), alone)
    assert "100%" in screen.getvalue()


def test_processes_are_for_long_inputs_of_tokenizers_without_threads(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    monkeypatch.setattr(tokens, "settled_threads", lambda: 8)
    text = "山" * (tokens._WORTH_PROCESSES_CHARACTERS // 256)
    assert tokens._workers(tokenizer, [text] * 255) == 1
    assert tokens._workers(tokenizer, [text] * 257) == 4  # as many as there are chunks
    assert tokens._workers(tokenizer, [text] * 10_000) == 8
    assert tokens._workers(tokenizer, [text * 257]) == 1

    class Rust:
        is_fast = True

    assert tokens._workers(Rust(), [text] * 10_000) == 1


def _tokenize_in_a_daemon(folder: str, texts: tuple[str, ...], sender: Any) -> None:
    tokens._workers = lambda *_: 2
    sender.send(tokenize(load_tokenizer(resolve_encoder(folder)), texts, max_tokens=40).ids.tolist())


def test_threads_may_start_processes_at_the_same_time() -> None:
    main = sys.modules["__main__"]
    with ThreadPoolExecutor(2) as pool:
        inside, leave = threading.Barrier(2, timeout=60), threading.Event()

        def start(first: bool) -> bool:
            with without_main():
                inside.wait()
                if not first:
                    leave.wait(60)
                hidden = sys.modules["__main__"] is not main
            if first:
                leave.set()
            return hidden

        assert list(pool.map(start, (True, False))) == [True, True]
    assert sys.modules["__main__"] is main


def test_a_daemon_works_alone(monkeypatch: pytest.MonkeyPatch, tokenizer: Any, many: tuple[str, ...]) -> None:
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    arguments = (tokenizer.name_or_path, many, sender)
    process = context.Process(target=_tokenize_in_a_daemon, args=arguments, daemon=True)
    with without_main():
        process.start()
    assert receiver.recv() == _alone(monkeypatch, tokenizer, many).ids.tolist()
    process.join()


def test_where_no_process_can_be_started_one_is_enough(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Any, many: tuple[str, ...]
) -> None:
    alone = _alone(monkeypatch, tokenizer, many)
    monkeypatch.setattr(tokens, "_workers", lambda *_: 2)
    monkeypatch.setattr(tokenizer, "a_lambda_does_not_pickle", lambda: None, raising=False)
    with pytest.warns(TanzakuWarning, match="tokenizing in one process: tokenizing processes can't be started"):
        assert _equal(tokenize(tokenizer, many, max_tokens=40), alone)


def test_results_keep_their_order_and_errors_their_kind() -> None:
    chunks = [[str(number)] for number in range(40)]
    assert list(map_chunks(chunks, maker=make_work, arguments=("upper",), workers=2)) == chunks
    assert os.getpid() not in set(map_chunks(chunks, maker=make_work, arguments=("tells",), workers=2))
    assert set(map_chunks(chunks, maker=make_work, arguments=("tells",), workers=1)) == {os.getpid()}
    with pytest.raises(ValueError, match="of its own"):
        list(map_chunks([*chunks, ["dead"]], maker=make_work, arguments=("fails",), workers=2))


@pytest.mark.filterwarnings("ignore:a tokenizing process died")
@pytest.mark.parametrize("before", [1, 40])  # fewer chunks than the processes take at once, and more
def test_a_text_that_ends_its_process_is_named(before: int) -> None:
    chunks = [[str(number), "x"] for number in range(before)]
    deadly = ["a", "dead", "b"]
    results = map_chunks([*chunks, deadly, *chunks], maker=make_work, arguments=("dies",), workers=2)
    done: list[list[str]] = []
    with pytest.raises(DataError, match=rf"^text {2 * before + 2}, of 4 characters, which begins with 'dead': "):
        done.extend(results)
    assert done == [[number, "X"] for number, _ in chunks]


def test_after_a_death_that_no_text_is_the_cause_of_one_process_does_the_rest(tmp_path: Path) -> None:
    chunks = [[str(number)] for number in range(20)]
    first = tmp_path / "first"
    with pytest.warns(TanzakuWarning, match="a tokenizing process died; continuing with one process"):
        results = list(map_chunks(chunks, maker=make_work, arguments=(f"dies once: {first}",), workers=2))
    assert results == chunks


def test_a_chunk_that_a_broken_pool_refuses_is_not_lost(tmp_path: Path) -> None:
    """The source of the chunks is slow: the pool has noticed the death when it is given the next one."""
    before = set(threading.enumerate())

    def slow() -> Iterator[list[str]]:
        yield ["0"]
        while not set(threading.enumerate()) <= before:  # the pool's threads end when it is broken
            time.sleep(0.01)
        yield from (["1"], ["2"], ["3"])

    with pytest.warns(TanzakuWarning, match="a tokenizing process died"):
        results = list(map_chunks(slow(), maker=make_work, arguments=(f"dies once: {tmp_path / 'first'}",), workers=2))
    assert results == [["0"], ["1"], ["2"], ["3"]]


def test_texts_that_do_not_come_back_are_noticed(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Any, many: tuple[str, ...]
) -> None:
    alone = _alone(monkeypatch, tokenizer, many)

    def lossy(chunks: Iterator[list[str]], *, workers: int, **work: Any) -> Iterator[Any]:
        return map_chunks(islice(chunks, 2) if workers > 1 else chunks, workers=1, **work)

    monkeypatch.setattr(tokens, "_workers", lambda *_: 2)
    monkeypatch.setattr("tanzaku.encoders.parallel.map_chunks", lossy)
    with pytest.warns(TanzakuWarning, match="128 of 300 texts came back"):
        assert _equal(tokenize(tokenizer, many, max_tokens=40), alone)


def test_a_deadly_text_never_reaches_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "_workers", lambda *_: 2)
    monkeypatch.setattr(tokens, "text_encoder", deadly_encoder)
    texts = ["a"] * 100
    texts[70] = "dead"
    with pytest.warns(TanzakuWarning, match="died"), pytest.raises(DataError, match=r"^text 71, of 4 characters"):
        tokenize(cast(Any, None), texts, max_tokens=8)


def test_a_readers_own_error_is_not_taken_for_a_processs() -> None:
    def unreadable() -> Iterator[list[str]]:
        yield ["a"]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(map_chunks(unreadable(), maker=make_work, arguments=("upper",), workers=2))
