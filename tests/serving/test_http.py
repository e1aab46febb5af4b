"""The routes over real connections."""

import json
import logging
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from tanzaku.errors import BundleError
from tanzaku.files import folder_bytes
from tanzaku.serving.limits import Limits
from tanzaku.serving.schemas import ClassifyRequest
from tanzaku.serving.service import Service, describe_task
from tanzaku.serving.tasks import Tasks
from tanzaku.serving.tokens import Tokens
from tanzaku.ship.bundle import CompressionFacts, QuantizationFacts
from tanzaku.ship.classifier import Classifier
from tanzaku.study.summary import SplitScores
from tests.serving.conftest import BUNDLES
from tests.serving.running import Running, running

TEXT = "空が見る。雲は海に行く、山を見る。"
USER, ADMIN = "user-token-0123456789", "admin-token-0123456789"


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(bundles: dict[str, Path]) -> Iterator[Running]:
    """A server of its own with tokens, small limits and a folder of bundles."""
    tasks = Tasks(precision="float32", device="cpu")
    tasks.load("svm", bundles["svm"])
    limits = Limits(
        max_texts=4, max_characters=50, max_body_bytes=2_000, max_requests=3, read_seconds=0.5, request_seconds=20
    )
    tokens = Tokens.of(users=[USER], admins=[ADMIN])
    with running(Service(tasks, limits=limits, tokens=tokens, bundles=bundles["svm"].parent)) as server:
        yield server


@pytest.mark.parametrize("name", BUNDLES)
def test_answers_are_those_of_the_classifier(server: Running, bundles: dict[str, Path], name: str) -> None:
    expected = Classifier.load(bundles[name], precision="float32")([TEXT, "海"], all_labels=True)
    with server.client() as client:
        answer = client.post("/v1/classify", json={"task": name, "texts": [TEXT, "海"], "top": 2}).raise_for_status()
    for got, one in zip(answer.json()["predictions"], expected, strict=True):
        assert (got["label"], got["suggestion"]) == (one.label, None)
        assert got["probability"] == pytest.approx(one.probability, abs=1e-5)
        assert [label["label"] for label in got["labels"]] == list(one.probabilities or {})[:2]
        assert got["labels"][0]["score"] == pytest.approx(one.score, abs=1e-5)


def test_unsure_texts_are_not_answered(server: Running) -> None:
    request = {"task": "mean", "texts": [TEXT], "min_probability": 1, "otherwise": "人が見る"}
    with server.client() as client:
        (got,) = client.post("/v1/classify", json=request).raise_for_status().json()["predictions"]
        assert (got["label"], got["suggestion"]) == ("人が見る", got["labels"][0]["label"])
        impossible = client.post("/v1/classify", json={"task": "mean", "texts": [TEXT], "error_rate": 0.01})
    assert (impossible.status_code, impossible.json()["error_type"]) == (422, "validation")
    assert "can't be promised" in impossible.json()["error"]
    assert impossible.json()["error"].endswith("; give min_probability instead of error_rate, or a higher error_rate")


def test_a_client_is_not_advised_to_pack_the_bundle_again(server: Running) -> None:
    task = replace(server.service.tasks.get("svm"), held_out=None)
    with pytest.raises(BundleError, match=r"nothing of held-out documents.* give min_probability") as raised:
        server.service.classify(ClassifyRequest(texts=[TEXT], error_rate=0.1), task)
    assert "--" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "body", "kind", "message"),
    [
        ("/v1/classify", b'{"texts": ["a"]}', None, "with the header Content-Type: application/json"),
        ("/v1/classify", b'{"texts": ["a"]}', "text/plain", "with the header Content-Type: application/json"),
        ("/v1/classify", b'{"texts": ["abc", "de', "application/json", "the body is not valid JSON: .*character 18"),
        ("/v1/classify", b"[]", "application/json", "body: give a JSON object"),
        *(
            (
                "/v1/classify",
                f'{{"texts": ["a"], "{name}": {value}}}'.encode(),
                "application/json",
                f"{name}: give a number",
            )
            for name, value in (("min_probability", '"80%"'), ("min_probability", 80), ("error_rate", '"2%"'))
        ),
        *(
            ("/v1/classify", f'{{"task": "svm", "texts": ["a"], {fields}}}'.encode(), "application/json", message)
            for fields, message in (
                ('"error_rate": 1e-310', "error_rate = 1e-310; give a share from 0.000001 to 0.999999"),
                ('"error_rate": 0.3, "confidence": 1e-20', "confidence = 1e-20; give a share from 0.000001"),
                ('"confidence": 0.9', "confidence only has an effect with error_rate"),
                ('"otherwise": "x"', "otherwise only has an effect with min_probability or error_rate"),
            )
        ),
        ("/v1/classify", b'{"texts": ["a"]}', "application/json", "name the task of the request in its field task"),
        ("/predict", b'{"inputs": "a"}', "application/json", "name the task in the address: /v1/tasks/NAME/predict"),
        ("/v1/tables?filename=a.csv", b"text", None, "name the task of the request in its parameter task"),
        ("/v1/classify", '{"texts": ["空"]}'.encode("cp932"), "application/json", "not valid UTF-8"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_its_own_terms(
    server: Running, path: str, body: bytes, kind: str | None, message: str
) -> None:
    with server.client() as client:
        answer = client.post(path, content=body, headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")
    assert re.search(message, answer.json()["error"]), answer.text


def test_a_form_is_no_table_and_empty_texts_are_remarked(server: Running) -> None:
    address = "/v1/tables?filename=a.csv&task=svm"
    table = "text\n空\n　\n".encode()
    with server.client() as client:
        form = client.post(address, files={"file": ("a.csv", table)})
        assert (form.status_code, "--data-binary" in form.json()["error"]) == (415, True)
        labelled = client.post(address, content=table)
        assert unquote(labelled.headers["x-remarks"]) == "1 text is empty: the label of an empty text is meaningless."
        long = client.post(address, content=("空" * 5000 + "\n空\n").encode())
        assert unquote(long.headers["x-text-column"]) == "空" * 100


def test_monitors_ask_for_headers_alone(server: Running) -> None:
    with server.client() as client:
        for path in ("/", "/healthz", "/readyz"):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"] == client.get(path).headers["content-type"]

        def count() -> float:
            found = re.search(
                r'tanzaku_requests_total\{route="/readyz",status="200"\} (\S+)', client.get("/metrics").text
            )
            return float(found[1]) if found else 0

        before = count()
        client.head("/readyz")
        assert count() == before + 1


def test_linear_explanations_add_up_to_the_score(server: Running, bundles: dict[str, Path]) -> None:
    task = server.service.tasks.get("svm")
    with server.client() as client:
        request = {"task": "svm", "texts": [TEXT], "explain": True}
        (got,) = client.post("/v1/classify", json=request).raise_for_status().json()["predictions"]
    explanation = got["explanation"]
    offset = task.pool._scorer._fitted[-1].intercept_  # type: ignore[attr-defined]
    label = task.facts.label_names.index(explanation["label"])
    assert explanation["kind"] == "linear"
    assert "".join(phrase["text"] for phrase in explanation["phrases"]) == TEXT
    total = sum(phrase["weight"] for phrase in explanation["phrases"])
    assert total + offset[label] == pytest.approx(got["score"], abs=1e-5)


@pytest.mark.parametrize("name", ["svm", "mean"])
def test_phrases_are_those_of_the_text_that_was_sent(server: Running, name: str) -> None:
    text = "\u200b空が\u200b\u200b見る。雲は海に\xad行く、山を\0見る。\ufeff"
    with server.client() as client:
        answer = client.post("/v1/classify", json={"task": name, "texts": [text], "explain": True}).raise_for_status()
    phrases = answer.json()["predictions"][0]["explanation"]["phrases"]
    assert "".join(phrase["text"] for phrase in phrases) == text
    assert [phrase["text"] for phrase in phrases] == [text[phrase["start"] : phrase["end"]] for phrase in phrases]


def test_other_explanations_leave_out_each_phrase(server: Running) -> None:
    with server.client() as client:
        request = {"task": "mean", "texts": [TEXT], "explain": True}
        (got,) = client.post("/v1/classify", json=request).raise_for_status().json()["predictions"]
        phrases = got["explanation"]["phrases"]
        rest = TEXT[: phrases[0]["start"]] + TEXT[phrases[0]["end"] :]
        without = client.post("/v1/classify", json={"task": "mean", "texts": [rest], "top": 3}).json()["predictions"][0]
    assert [phrase["text"] for phrase in phrases] == ["空が見る。", "雲は海に行く、", "山を見る。"]
    probability = next(one["probability"] for one in without["labels"] if one["label"] == got["label"])
    odds = _odds(got["probability"]) - _odds(probability)
    assert phrases[0]["weight"] == pytest.approx(odds, abs=1e-3)


def _odds(probability: float) -> float:
    import math

    return math.log(probability / (1 - probability))


def test_clients_of_text_embeddings_inference(server: Running) -> None:
    with server.client() as client:
        one = client.post("/v1/tasks/mean/predict", json={"inputs": TEXT}).raise_for_status().json()
        batch = client.post("/v1/tasks/mean/predict", json={"inputs": [[TEXT], ["海"]]}).raise_for_status().json()
        raw = client.post("/v1/tasks/mean/predict", json={"inputs": [TEXT], "raw_scores": True, "truncate": True})
        pair = client.post("/v1/tasks/mean/predict", json={"inputs": ["a", "b"]})
        unnamed = client.post("/predict", json={"inputs": TEXT})
    assert [set(entry) for entry in one] == [{"label", "score"}] * 3
    assert sum(entry["score"] for entry in one) == pytest.approx(1)
    assert [entry["score"] for entry in one] == sorted((entry["score"] for entry in one), reverse=True)
    assert batch[0] == pytest.approx(one) or [e["label"] for e in batch[0]] == [e["label"] for e in one]
    assert len(batch) == 2
    assert raw.json()[0]["label"] == one[0]["label"]
    assert raw.json()[0]["score"] != pytest.approx(one[0]["score"])
    assert pair.status_code == 422
    assert (unnamed.status_code, unnamed.json()["error_type"]) == (422, "validation")
    assert "name the task" in unnamed.json()["error"]


def test_tasks_health_and_metrics(server: Running) -> None:
    with server.client() as client:
        tasks = client.get("/v1/tasks").raise_for_status().json()["tasks"]
        assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
        client.post("/v1/classify", json={"task": "svm", "texts": ["海", "山"]}).raise_for_status()
        metrics = client.get("/metrics").raise_for_status().text
        missing = client.get("/nowhere")
    assert [task["name"] for task in tasks] == sorted(BUNDLES)
    svm = next(task for task in tasks if task["name"] == "svm")
    assert (svm["method"], svm["explanations"], svm["test"]["accuracy"]) == ("tfidf-svm", "linear", 0.5)
    assert svm["validation"]["documents"] == 12
    assert 'tanzaku_texts_total{task="svm"}' in metrics
    assert 'tanzaku_requests_total{route="/v1/classify",status="200"}' in metrics
    assert (missing.status_code, missing.json()["error_type"]) == (404, "not_found")


def test_no_accuracy_is_shown_of_documents_that_were_trained_on(tasks: Tasks) -> None:
    task = tasks.get("svm")
    alike = task.facts.run.model_copy(update={"test_is_validation": True})
    untested = replace(task, facts=task.facts.model_copy(update={"run": alike}))
    answer = describe_task(untested)
    assert (answer.test, answer.validation is None) == (None, False)
    calibration = task.facts.calibration.model_copy(update={"documents": 0})
    trained = replace(task, facts=untested.facts.model_copy(update={"calibration": calibration}))
    assert describe_task(trained).validation is None


def test_accuracies_are_those_of_the_weights_that_answer(tasks: Tasks) -> None:
    task = tasks.get("mean")
    val = SplitScores(documents=9, accuracy=2 / 3, accuracy_interval=(0.35, 0.88), macro_f1=0.6)
    quantized = QuantizationFacts(changed=1, val_data="other", val=val, val_before=task.facts.run.val)
    cut = CompressionFacts(rank=1, energy=None, ranks=(1, 1), ranks_before=(2, 2), kept_energy=0.9)
    changes: list[tuple[dict[str, object], int | None]] = [
        ({"compressed": cut}, None),
        ({"compressed": cut.model_copy(update={"val": val})}, 9),
        ({"weights": "int8"}, None),
        ({"weights": "int4", "quantized": quantized}, 9),
    ]
    for change, documents in changes:
        answer = describe_task(replace(task, facts=task.facts.model_copy(update=change)))
        assert answer.test is None
        assert (answer.validation.documents if answer.validation else None) == documents
    # Nothing was cut away.
    same = task.facts.model_copy(update={"compressed": cut.model_copy(update={"kept_energy": 1.0})})
    assert describe_task(replace(task, facts=same)) == describe_task(task)
    assert describe_task(task).test is not None


def test_a_tasks_size_is_that_of_what_classifies(bundles: dict[str, Path], tmp_path: Path) -> None:
    tasks = Tasks(precision="float32", device="cpu")
    folder = Path(shutil.copytree(bundles["svm"], tmp_path / "svm"))
    size = tasks.load("svm", folder).bundle_bytes
    assert size == folder_bytes(folder)
    (folder / ".git").mkdir()
    for name in (".git/a.pack", "README.md"):
        (folder / name).write_bytes(bytes(1000))
    assert tasks.load("svm", folder).bundle_bytes == size


def test_without_a_token_only_requests_to_loopback_names_are_answered(server: Running) -> None:
    with server.client(headers={"Host": "example.com"}) as client:
        assert client.get("/v1/tasks").status_code == 421
    with server.client(headers={"Sec-Fetch-Site": "cross-site"}) as client:
        assert client.get("/v1/tasks").status_code == 403


def test_tokens(guarded: Running) -> None:
    change = {"bundle": "mean"}
    with guarded.client() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/tasks").headers["www-authenticate"] == "Bearer"
        for wrong in ("x", "user-token-012345678", "user-token-01234567890", ADMIN[:-1]):
            assert client.get("/v1/tasks", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        assert client.get("/v1/tasks", headers=_as(USER)).status_code == 200
        assert client.get("/v1/tasks", headers=_as(ADMIN)).status_code == 200
        assert client.put("/v1/tasks/new", json=change, headers=_as(USER)).status_code == 401
        assert client.delete("/v1/tasks/svm", headers=_as(USER)).status_code == 401


def test_limits_of_size(guarded: Running) -> None:
    def post(texts: list[str]) -> httpx.Response:
        with guarded.client(headers=_as(USER)) as client:
            return client.post("/v1/classify", json={"texts": texts})

    assert post(["海"] * 4).status_code == 200
    for texts, named in ((["海"] * 5, "5 texts"), (["海" * 51], "51 characters"), (["海" * 900], "2000 bytes")):
        answer = post(texts)
        assert answer.status_code == 413
        assert named in answer.json()["error"]
    chunked = iter([b"{" + b" " * 1500, b" " * 1500])
    with guarded.client(headers=_as(USER)) as client:
        assert client.post("/v1/classify", content=chunked).status_code == 413


def test_too_many_requests_get_429_and_the_server_recovers(guarded: Running) -> None:
    """The engine is held back until more requests are there than may be in flight."""
    held = threading.Event()
    pool = guarded.service.tasks.get("svm").pool
    scorer = pool._scorer  # type: ignore[attr-defined]
    pool._scorer = lambda texts, listener: held.wait(20) and scorer(texts, listener=listener)  # type: ignore[attr-defined]
    with guarded.client(headers=_as(USER)) as client, ThreadPoolExecutor(3) as threads:

        def post() -> httpx.Response:
            return client.post("/v1/classify", json={"texts": ["海"]})

        waiting = [threads.submit(post) for _ in range(3)]
        while guarded.service.engine.waiting() < 3:
            time.sleep(0.005)
        refused = post()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error_type"] == "overloaded"
        assert client.get("/healthz").status_code == 200
        held.set()
        assert [future.result().status_code for future in waiting] == [200] * 3
        assert post().status_code == 200


def test_slow_and_half_open_connections_hold_up_nobody(guarded: Running) -> None:
    """More of them than requests may be in flight; all are closed, those with a part of a body with status 408."""
    silent = [guarded.connect() for _ in range(5)]
    for connection in silent[:2]:
        connection.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n")
    partial = [guarded.connect() for _ in range(5)]
    head = (
        f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {USER}\r\nContent-Length: 99\r\n\r\n{{"
    )
    for connection in partial:
        connection.sendall(head.encode())
    with guarded.client(headers=_as(USER)) as client:
        assert client.post("/v1/classify", json={"texts": ["海"]}).status_code == 200
    for connection in partial:
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    for connection in (*silent, *partial):
        _read_to_end(connection)


def test_a_client_that_does_not_take_its_answers_is_cut_off(guarded: Running) -> None:
    connection = guarded.connect()
    connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)
    with guarded.client(headers=_as(USER)) as client:
        assert client.post("/v1/classify", json={"texts": ["海"]}).status_code == 200
        time.sleep(4)  # its time is over after 1.5 seconds
        assert client.get("/healthz").status_code == 200
    assert 0 < _read_to_end(connection).count(b"HTTP/1.1 200") < 2000


def _read_to_end(connection: socket.socket) -> bytes:
    """Fails with a timeout if the server leaves the connection open."""
    content = bytearray()
    with connection:
        try:
            while some := connection.recv(100_000):
                content += some
        except ConnectionResetError:
            pass
    return bytes(content)


def test_replacing_a_task_while_requests_run_drops_none(guarded: Running, bundles: dict[str, Path]) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        with guarded.client(headers=_as(USER)) as client:
            while not stop.is_set():
                statuses.append(client.post("/v1/classify", json={"task": "news", "texts": ["海", TEXT]}).status_code)

    with guarded.client(headers=_as(ADMIN)) as client:
        client.put("/v1/tasks/news", json={"bundle": "svm"}).raise_for_status()
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        methods = [
            client.put("/v1/tasks/news", json={"bundle": name}).raise_for_status().json()["method"]
            for name in ("mean", "svm", "cls", "bitfit")
        ]
        broken = client.put("/v1/tasks/news", json={"bundle": "missing"})
        stop.set()
        for thread in threads:
            thread.join()
        assert methods == ["lora", "tfidf-svm", "lora", "bitfit"]
        assert broken.status_code == 422
        assert len(statuses) > 4
        assert set(statuses) == {200}
        assert client.delete("/v1/tasks/news").status_code == 204
        assert client.delete("/v1/tasks/news").status_code == 404
        outside = client.put("/v1/tasks/news", json={"bundle": "../encoder"})
    assert outside.status_code == 422
    assert "not below" in outside.json()["error"]


def test_a_server_that_can_not_compute_is_not_healthy(bundles: dict[str, Path]) -> None:
    with running(Service(Tasks())) as server, server.client() as client:
        assert client.get("/healthz").status_code == 200
        server.service.engine.close()
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})


def test_a_mistake_of_the_server_is_an_error_in_the_usual_form(
    bundles: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """With an id, under which the log has more, but not the error's words, which may quote a text."""
    tasks = Tasks(precision="float32", device="cpu")
    task = tasks.load("svm", bundles["svm"])

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"out of memory at {TEXT}")

    task.pool._scorer = broken  # type: ignore[attr-defined]
    with (
        caplog.at_level(logging.INFO, logger="tanzaku.serving"),
        running(Service(tasks)) as server,
        server.client() as client,
    ):
        answer = client.post("/v1/classify", json={"task": "svm", "texts": [TEXT]})
        assert client.get("/healthz").status_code == 200
    assert (answer.status_code, answer.json()["error_type"]) == (500, "backend")
    assert answer.headers["x-request-id"] in answer.json()["error"]
    written = [json.dumps(record.facts, ensure_ascii=False) for record in caplog.records if hasattr(record, "facts")]
    assert any(answer.headers["x-request-id"] in line and "RuntimeError" in line for line in written)
    assert TEXT not in "".join(written)


def test_requests_that_a_shutdown_does_not_wait_for_get_503(bundles: dict[str, Path]) -> None:
    """The request can't be answered before the server has given it up."""
    tasks = Tasks(precision="float32", device="cpu")
    task = tasks.load("svm", bundles["svm"])
    scorer, held = task.pool._scorer, threading.Event()  # type: ignore[attr-defined]
    task.pool._scorer = lambda texts, listener: held.wait(20) and scorer(texts, listener=listener)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as threads:
        with running(Service(tasks, limits=Limits(shutdown_seconds=1))) as server:
            table = "text\n" + "".join(f"海に船が{number}ある\n" for number in range(200))
            future = threads.submit(httpx.post, f"{server.url}/v1/tables?filename=a.csv", content=table, timeout=60)
            future.add_done_callback(lambda _: held.set())
            while server.service.engine.waiting() == 0 and not future.done():
                time.sleep(0.005)
        answer = future.result()
    assert (answer.status_code, answer.json()["error_type"]) == (503, "unhealthy")
    assert answer.headers["retry-after"] == "5"
    assert "shutting down" in answer.json()["error"]


def test_logs_have_no_texts(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tanzaku.serving"), server.client() as client:
        client.post("/v1/classify", json={"task": "svm", "texts": [TEXT]}).raise_for_status()
        client.post("/v1/classify", json={"task": "svm", "texts": TEXT})
        client.get("/readyz")
    written = [json.dumps(record.facts, ensure_ascii=False) for record in caplog.records if hasattr(record, "facts")]
    assert any('"task": "svm"' in line and '"texts": 1' in line and '"status": 200' in line for line in written)
    assert TEXT not in "".join(written)
