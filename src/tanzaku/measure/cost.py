"""What a run costs: memory. (Seconds are counted where the work is done, bytes on disk by `files.folder_bytes`.)"""

import sys


def peak_memory_bytes() -> int | None:
    """The largest resident memory that this process has had, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024  # macOS counts bytes, Linux KiB


def peak_gpu_memory_bytes() -> int | None:
    """The most GPU memory that PyTorch has held in this process, in bytes; None without a GPU."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None
