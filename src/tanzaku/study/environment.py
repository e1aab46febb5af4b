"""What a record says of the machine and the software it was made with."""

import torch

from tanzaku.machine import describe_machine
from tanzaku.provenance import GIT_STATE, versions
from tanzaku.study.record import Environment

_PACKAGES = ("tanzaku", "torch", "transformers", "peft", "tokenizers", "fugashi", "ipadic", "numpy", "scikit-learn")


def describe_environment() -> Environment:
    """The machine, the packages' versions, and the state of the git checkout that the code runs from."""
    machine = describe_machine()
    commit, dirty = GIT_STATE
    return Environment(
        versions=versions(_PACKAGES),
        platform=machine.platform,
        cpu=machine.cpu,
        cores=machine.physical_cores,
        threads=torch.get_num_threads(),
        memory_bytes=machine.memory_bytes,
        gpu=machine.gpu,
        git_commit=commit,
        git_dirty=dirty,
    )
