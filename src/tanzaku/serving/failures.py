"""What a client gets when something is wrong: one shape for all errors, the one of text-embeddings-inference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ERROR_TYPES = {
    400: "validation",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "validation",
    408: "timeout",
    413: "validation",
    415: "validation",
    421: "validation",
    422: "validation",
    429: "overloaded",
    500: "backend",
    503: "unhealthy",
}


@dataclass(eq=False)  # not frozen: Python writes to exceptions that are raised
class ApiError(Exception):
    """An answer other than the one that was asked for."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """The body, as an object."""
        return {"error": self.message, "error_type": ERROR_TYPES.get(self.status, "validation")}

    def body(self) -> bytes:
        """The body."""
        return json.dumps(self.content(), ensure_ascii=False).encode()


def mistake(request_id: str) -> ApiError:
    """What is answered where the server itself failed."""
    return ApiError(500, f"the server made a mistake; its log has more under the id {request_id}")
