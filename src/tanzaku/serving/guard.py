"""What every request passes before it is answered: host, token, size, time, and the number of requests in flight.

The whole body is read before a request counts as being in flight, and it stops counting when its answer begins. So a
client that sends or reads slowly holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tanzaku.serving.engine import SHUTTING_DOWN
from tanzaku.serving.failures import ApiError, mistake
from tanzaku.serving.service import Service
from tanzaku.serving.tokens import bearer_of
from tanzaku.serving.watching import log

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# They tell nothing about texts or tasks: the page, whether the server works, and how requests look.
_OPEN = frozenset({"/", "/health", "/healthz", "/readyz", "/openapi.json"})
_CHANGES = ("PUT", "DELETE")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}


class Guard:
    """An ASGI application around another.

    Args:
        app: Answers the requests that pass.
        service: Limits, tokens and metrics.
        host: The address that the server is bound to; without tokens, only requests to it or to loopback names pass, so
            that no web page can reach the server under a name of its own.
    """

    def __init__(self, app: App, service: Service, *, host: str) -> None:
        self._app, self._service = app, service
        self._hosts = _LOOPBACK | {host.lower()}
        self._in_flight = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        try:
            self._admit(scope)
            body = await self._body(scope, receive)
            await self._compute(scope, body, receive, answer)
        except ApiError as failure:
            await answer.fail(failure)
        except _ClientLeftError:
            answer.status = 499
        except asyncio.CancelledError:  # by the server's shutdown, whose time is over
            await answer.fail(ApiError(503, SHUTTING_DOWN, {"retry-after": "5", "connection": "close"}))
        except Exception as error:
            # Without the error's message, which may quote a text.
            log(
                "failure",
                level=logging.ERROR,
                id=answer.id,
                error=type(error).__name__,
                trace=traceback.format_tb(error.__traceback__)[-6:],
            )
            await answer.fail(mistake(answer.id))
        finally:
            self._note(scope, answer)

    def _admit(self, scope: Message) -> None:
        headers = dict(scope["headers"])
        tokens, path = self._service.tokens, scope["path"]
        if not tokens.needed and _host_of(headers.get(b"host", b"")) not in self._hosts:
            raise ApiError(421, "without a token, this server only answers requests to localhost or 127.0.0.1")
        if path in _OPEN:
            return
        if headers.get(b"sec-fetch-site") == b"cross-site":
            raise ApiError(403, "requests from other web sites are not answered")
        token = bearer_of(headers.get(b"authorization", b"").decode("latin-1"))
        if scope["method"] in _CHANGES:
            if self._service.bundles is None or not tokens.admins:
                raise ApiError(
                    403, "tasks can't be changed; start the server with --bundles and an administrator's token"
                )
            admitted = tokens.admit_admin(token)
        else:
            admitted = tokens.admit(token)
        if not admitted:
            raise ApiError(401, "send a valid token: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        limits = self._service.limits
        most = limits.max_body_bytes
        too_large = ApiError(413, f"the body has more than {most} bytes; send fewer or shorter texts")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(limits.read_seconds):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise _ClientLeftError
                    parts.append(event.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not event.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise ApiError(
                408, f"the request took more than {limits.read_seconds:g} s to arrive", {"connection": "close"}
            ) from None

    async def _compute(self, scope: Message, body: bytes, receive: Receive, answer: _Answer) -> None:
        counted = scope["method"] in ("POST", "PUT")
        if counted and self._in_flight >= self._service.limits.max_requests:
            raise ApiError(429, "the server has too many requests; send this one again later", {"retry-after": "1"})
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        self._count(counted)
        answer.begun = lambda: self._count(-counted)
        try:
            # HEAD has the headers of GET; the server sends no body.
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await self._app(asked, replay, answer.send)
            if "route" in asked:
                scope["route"] = asked["route"]
        finally:
            answer.begin()

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._service.metrics.in_flight.set(self._in_flight)

    def _note(self, scope: Message, answer: _Answer) -> None:
        seconds = time.perf_counter() - answer.started
        route = getattr(scope.get("route"), "path", "other")
        metrics = self._service.metrics
        metrics.requests.labels(route, answer.status).inc()
        metrics.seconds.labels(route).observe(seconds)
        client = scope.get("client")
        log(
            "request",
            id=answer.id,
            client=client[0] if client else None,
            method=scope["method"],
            route=route,
            status=answer.status,
            milliseconds=round(1000 * seconds, 1),
            **{name: value for name, value in scope["state"].items() if name in ("task", "texts")},
        )


class _ClientLeftError(Exception):
    """The client closed the connection before it had sent everything."""


class _Answer:
    """Sends an answer with the headers that all answers have, and notes its status."""

    def __init__(self, scope: Message, send: Send) -> None:
        scope.setdefault("state", {})
        self._send = send
        self.id = scope["state"]["request_id"] = uuid.uuid4().hex[:12]
        self.started = time.perf_counter()
        self.status = 0
        self.begun: Callable[[], None] | None = None

    def begin(self) -> None:
        """The computing is over."""
        if self.begun is not None:
            self.begun()
            self.begun = None

    async def send(self, event: Message) -> None:
        """Send a part of the answer."""
        if event["type"] == "http.response.start":
            self.begin()
            self.status = event["status"]
            given = {name.lower() for name, _ in event["headers"]}
            extra = {**_HEADERS, b"x-request-id": self.id.encode()}
            event["headers"] = [
                *event["headers"],
                *((name, value) for name, value in extra.items() if name not in given),
            ]
        await self._send(event)

    async def fail(self, failure: ApiError) -> None:
        """Send an error, unless an answer has begun."""
        if self.status:
            return
        body = failure.body()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **failure.headers}
        await self.send(
            {
                "type": "http.response.start",
                "status": failure.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await self.send({"type": "http.response.body", "body": body})


def _host_of(header: bytes) -> str:
    """The host of a Host header, without the port."""
    text = header.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
