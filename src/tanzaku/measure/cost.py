"""What a run costs: memory. (Seconds are counted where the work is done, bytes on disk by `files.folder_bytes`.)"""

import re
import sys
from pathlib import Path

_LINUX_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int | None:
    """The largest resident memory that this process has had, in bytes; None where the system does not say."""
    # getrusage() counts what the process that started this one held at the time; Linux's own figure does not.
    if sys.platform == "linux" and (found := re.search(r"^VmHWM:\s*(\d+) kB", _status(), flags=re.MULTILINE)):
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024  # macOS counts bytes, Linux KiB


def _status() -> str:
    try:
        return _LINUX_STATUS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def peak_gpu_memory_bytes() -> int | None:
    """The most GPU memory that PyTorch has held in this process, in bytes; None without a GPU."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None
