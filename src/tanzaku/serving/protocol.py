"""Uvicorn's protocol with time limits: for a request to arrive, and for an answer to be taken."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# So much longer than the limit of the guard, which answers with a status; here the connection is cut.
_LATER = 1.0


class TimedProtocol(H11Protocol):
    """Closes connections whose request does not arrive, or whose answer is not taken, and those that are too many.

    Uvicorn has a limit for the time between requests, but none for a connection that has sent nothing or a part.
    """

    read_seconds: float
    max_connections: int
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the time for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._start_reading()

    def data_received(self, data: bytes) -> None:
        """Stop the time when the request is whole, and start it when the next one begins."""
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._start_reading()
        else:
            self._stop_reading()

    def pause_writing(self) -> None:
        """Start the time for taking what was sent."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.read_seconds + _LATER, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that time."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, also if the client does not take what was sent."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.read_seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all times."""
        self._stop_reading()
        if self._writing is not None:
            self._writing.cancel()
        super().connection_lost(exc)

    def _start_reading(self) -> None:
        if self._reading is None:
            self._reading = self.loop.call_later(self.read_seconds + _LATER, self.transport.abort)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


def timed_protocol(*, read_seconds: float, max_connections: int) -> type[TimedProtocol]:
    """The protocol with these limits, as uvicorn takes it."""
    return type("LimitedProtocol", (TimedProtocol,), {"read_seconds": read_seconds, "max_connections": max_connections})
