"""A real server on a free port, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn

from tanzaku.serving.api import make_app
from tanzaku.serving.protocol import timed_protocol
from tanzaku.serving.service import Service


@dataclass(frozen=True)
class Running:
    """A server that answers at `url`."""

    url: str
    port: int
    service: Service

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)  # type: ignore[arg-type]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def running(service: Service) -> Iterator[Running]:
    limits = service.limits
    config = uvicorn.Config(
        make_app(service),
        http=timed_protocol(read_seconds=limits.read_seconds, max_connections=limits.max_connections),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Running(f"http://127.0.0.1:{port}", port, service)
    finally:
        server.should_exit = True
        thread.join()
        service.engine.close()
