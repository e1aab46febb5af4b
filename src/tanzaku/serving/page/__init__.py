"""The page at /: one file that loads nothing else."""

import base64
import hashlib
import re
from importlib import resources

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def read_page() -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that allows its own script and style and requests to this server."""
    page = resources.files(__name__).joinpath("page.html").read_text(encoding="utf-8")
    digests = {kind: _digest(content) for kind, content in _INLINE.findall(page)}
    policy = {
        "default-src": "'none'",
        "script-src": digests["script"],
        "style-src": digests["style"],
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return page.encode(), "; ".join(f"{name} {value}" for name, value in policy.items())


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
