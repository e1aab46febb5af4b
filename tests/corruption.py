"""Damaged files, for tests that they are refused with errors of ours."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st

Result = TypeVar("Result")
Error = TypeVar("Error", bound=Exception)


def outcome(call: Callable[[], Result], *errors: type[Error]) -> Result | Error:
    """What a call returns, or which of these errors it raises."""
    try:
        return call()
    except errors as error:
        return error


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Other bytes than `content`: cut off, with bits changed, longer, nested without end, or of another kind."""
    place = draw(st.integers(0, len(content) - 1))
    kinds = {
        "cut": lambda: content[:place],
        "bit": lambda: content[:place] + bytes([content[place] ^ 1 << draw(st.integers(0, 7))]) + content[place + 1 :],
        "bytes": lambda: content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place:],
        "long": lambda: content + b" " * 1_000_000 + b"{",
        "nested": lambda: b"[" * 200_000,
        "other": lambda: draw(st.sampled_from([b"", b"{}", b"[]", b"null", b"\xff\xfe", b"\0" * 64, b"PK\x03\x04"])),
    }
    found = kinds[draw(st.sampled_from(sorted(kinds)))]()
    return found if found != content else content + b"\0"
