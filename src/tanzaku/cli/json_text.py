"""JSON on standard output, for scripts."""

import codecs
import json
import sys
from typing import Any


def json_text(content: Any) -> str:
    """Indented JSON: characters as they are where standard output is in UTF-8, and otherwise as escapes, which every
    encoding has."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return json.dumps(content, ensure_ascii=codecs.lookup(encoding).name != "utf-8", indent=2)
