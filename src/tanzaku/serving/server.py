"""The process that serves: binds the address, loads the bundles, answers until SIGTERM, and finishes what has begun."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tanzaku.errors import TanzakuError
from tanzaku.serving.api import make_app
from tanzaku.serving.protocol import timed_protocol
from tanzaku.serving.service import Service
from tanzaku.serving.watching import log, write_logs


def check_address(host: str, *, protected: bool) -> None:
    """Make sure that a server that others can reach asks for a token.

    Args:
        host: The address to bind to.
        protected: Whether requests need a token.

    Raises:
        TanzakuError: They don't, and the address is not a loopback one.
    """
    if not protected and not _is_loopback(host):
        raise TanzakuError(
            f"--host {host} lets other machines send texts to this server, and no token is set; write a token to a "
            "file (openssl rand -hex 32 > token.txt) and add --token-file token.txt, or leave --host out"
        )


def serve(
    service: Service,
    bundles: Mapping[str, Path],
    *,
    host: str,
    port: int,
    started: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until the process gets SIGTERM or SIGINT.

    Args:
        service: What answers; its engine is closed at the end.
        bundles: The tasks to begin with, by name.
        host: The address to bind to.
        port: The port; 0 takes a free one.
        started: Called with the server's address when all bundles are loaded.

    Raises:
        TanzakuError: The address can't be bound to or needs a token, or a bundle can't be loaded.
    """
    check_address(host, protected=service.tokens.needed)
    write_logs()
    with _bound(host, port) as listener:
        url = _url_of(listener)
        for name, folder in bundles.items():
            task = service.tasks.load(name, folder)
            log("loaded", task=name, method=task.facts.method["name"], shares_pass=task.shares_pass)
        service.metrics.tasks.set(len(service.tasks.all()))
        limits = service.limits
        config = uvicorn.Config(
            make_app(service, host=host),
            http=timed_protocol(read_seconds=limits.read_seconds, max_connections=limits.max_connections),
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=limits.shutdown_seconds,
        )
        listener.listen()  # who hears of the address may connect at once
        log("started", url=url)
        started(url)
        try:
            with _signals_answered():
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            service.engine.close()
            log("stopped")


@contextmanager
def _signals_answered() -> Iterator[None]:
    """Uvicorn stops at a signal and then raises it once more, which would end the process as if it had failed."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound before the bundles are loaded, so that a port in use is found at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:  # the second of a name that no host can have
        reason = getattr(error, "strerror", None) or error
        raise TanzakuError(f"can't listen on {host}, port {port}: {reason}; choose another --port or --host") from error
    return listener


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
