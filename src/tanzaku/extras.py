"""The packages that only some work needs: the extras of pyproject.toml."""

import importlib
import os
from typing import Literal

from tanzaku.errors import TanzakuError

Extra = Literal[
    "train",
    "report",
    "tune",
    "xlsx",
    "onnx",
    "openvino",
    "ray",
    "runtime",
    "runtime-tokenizers",
    "hub",
    "serve",
    "tensorboard",
    "mlflow",
]

# By the names that are imported, the names that are installed.
_PACKAGES: dict[Extra, dict[str, str]] = {
    "train": {
        name: name.replace("_", "-")
        for name in (
            "torch",
            "transformers",
            "peft",
            "huggingface_hub",
            "packaging",
            "pyarrow",
            "scipy",
            "tomli_w",
        )
    }
    | {"sklearn": "scikit-learn"},
    "report": {"jinja2": "jinja2", "matplotlib": "matplotlib"},
    "tune": {"optuna": "optuna"},
    "xlsx": {name: name for name in ("openpyxl", "defusedxml")},  # without which openpyxl expands any entities
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "openvino": {"openvino": "openvino", "nncf": "nncf"},
    "ray": {"ray": "ray"},
    "tensorboard": {"tensorboardX": "tensorboardX"},
    "mlflow": {"mlflow": "mlflow-skinny"},
    "runtime": {"onnxruntime": "onnxruntime"},
    "runtime-tokenizers": {"tokenizers": "tokenizers"},
    "hub": {"huggingface_hub": "huggingface-hub"},
    "serve": {name: name for name in ("fastapi", "starlette", "uvicorn", "h11", "anyio")}
    | {"prometheus_client": "prometheus-client"},
}

# ONNX Runtime and NNCF report over the network that they are used, unless these are set before they are imported.
_WITHOUT_REPORTS = {"ORT_DISABLE_TELEMETRY": "1", "NNCF_CI": "1"}


def describe_missing(error: ModuleNotFoundError) -> str | None:
    """What to install where a package of training is missing, in one line; None where another one is."""
    name = (error.name or "").partition(".")[0]
    if name not in _PACKAGES["train"]:
        return None
    if name == "pyarrow":  # reading Parquet is all that the runtime needs it for
        return "this needs pyarrow, which is not installed; install it with: pip install pyarrow"
    return (
        f"this needs {_PACKAGES['train'][name]}, which is not installed: only the runtime for exported bundles is; "
        "install all of Tanzaku in its cloned folder with: pip install '.[train]' ./mini"
    )


def require_extra(extra: Extra, *, purpose: str, module: str | None = None) -> None:
    """Make sure that the packages of an extra are installed, and import them.

    Packages that report their use over the network don't, unless the user's environment asks for it.

    Args:
        extra: Its name in pyproject.toml.
        purpose: What needs it, as the subject of a sentence, such as "the search".
        module: The only one of its packages that is needed, by the name that is imported; None for all.

    Raises:
        TanzakuError: One of the packages is missing; the message says how to install it.
    """
    for variable, value in _WITHOUT_REPORTS.items():
        os.environ.setdefault(variable, value)
    needed = {name: package for name, package in _PACKAGES[extra].items() if module in (None, name)}
    for name in needed:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise TanzakuError(
                f"{purpose} needs {error.name}, which is not installed; install it with: "
                f"pip install {' '.join(needed.values())} (the extra {extra!r})"
            ) from error
