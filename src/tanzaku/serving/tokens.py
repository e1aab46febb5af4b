"""Bearer tokens: who may classify, and who may change the tasks."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tanzaku.data.decoding import decode, read_bytes
from tanzaku.errors import TanzakuError

TOKEN_VARIABLE = "TANZAKU_TOKEN"
ADMIN_VARIABLE = "TANZAKU_ADMIN_TOKEN"
_SHORTEST = 16


@dataclass(frozen=True)
class Tokens:
    """The digests of the tokens that are valid; without any, everybody may classify and nobody change the tasks."""

    users: tuple[bytes, ...] = ()
    admins: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, *, users: Sequence[str] = (), admins: Sequence[str] = ()) -> Tokens:
        """Those of these texts."""
        return cls(tuple(map(_digest, users)), tuple(map(_digest, admins)))

    @property
    def needed(self) -> bool:
        """Whether a request needs a token."""
        return bool(self.users)

    def admit(self, token: str | None) -> bool:
        """Whether somebody with this token may classify."""
        return not self.users or self._is_among(token, (*self.users, *self.admins))

    def admit_admin(self, token: str | None) -> bool:
        """Whether somebody with this token may change the tasks."""
        return self._is_among(token, self.admins)

    def _is_among(self, token: str | None, digests: Sequence[bytes]) -> bool:
        given = _digest(token or "")
        # All are compared, each in constant time: how long it takes says nothing about them.
        equal = [hmac.compare_digest(given, digest) for digest in digests]
        return token is not None and any(equal)


def read_tokens(file: Path | None, *, variable: str) -> list[str]:
    """The tokens of a file, one a line without those that begin with #, and of an environment variable.

    Raises:
        TanzakuError: The file has no tokens, or a token is short or has characters that a header can't have.
    """
    found = [(variable, given)] if (given := os.environ.get(variable, "").strip()) else []
    if file is not None:
        lines = [line.strip() for line in decode(read_bytes(file), name=str(file), can_choose=False).splitlines()]
        tokens = [line for line in lines if line and not line.startswith("#")]
        if not tokens:
            raise TanzakuError(f"{file} has no tokens; write one a line, such as the output of: openssl rand -hex 32")
        found += [(str(file), token) for token in tokens]
    for where, token in found:
        if len(token) < _SHORTEST or not token.isascii() or any(one.isspace() for one in token):
            raise TanzakuError(
                f"{where} has a token of {len(token)} characters; use {_SHORTEST} or more ASCII characters without "
                "spaces, such as the output of: openssl rand -hex 32"
            )
    return [token for _, token in found]


def bearer_of(header: str | None) -> str | None:
    """The token of an Authorization header."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
