"""The adaptation methods: one file a method, listed once in `METHODS`, with those of installed packages.

A method is a frozen pydantic model: its fields are its options, its functions do the work. There are two kinds:
those that adapt an encoder (`EncoderMethod`) and those that learn only from the texts (`TextMethod`). PyTorch and PEFT
are imported where they are used, so that reading a study file costs nothing.
"""

from tanzaku.methods.adalora import AdaLora
from tanzaku.methods.bitfit import BitFit
from tanzaku.methods.full import Full
from tanzaku.methods.head import Head
from tanzaku.methods.houlsby import Houlsby
from tanzaku.methods.ia3 import IA3
from tanzaku.methods.interface import EncoderMethod, Method, TextMethod
from tanzaku.methods.labels import OptionLabel, Title
from tanzaku.methods.ln_tuning import LayerNormTuning
from tanzaku.methods.lora import Lora
from tanzaku.methods.lora_nested import LoraNested
from tanzaku.methods.lora_tfidf import LoraTfidf
from tanzaku.methods.pfeiffer import Pfeiffer
from tanzaku.methods.prefix import PrefixTuning
from tanzaku.methods.qlora import QLora
from tanzaku.methods.registry import Class, MethodClass, MethodRegistry
from tanzaku.methods.static import StaticEmbeddings
from tanzaku.methods.tfidf_svm import TfidfSvm
from tanzaku.methods.trained_weights import TrainedWeightsMethod

METHODS = MethodRegistry(
    (
        Full,
        Head,
        Lora,
        LoraNested,
        LoraTfidf,
        QLora,
        AdaLora,
        BitFit,
        LayerNormTuning,
        IA3,
        Houlsby,
        Pfeiffer,
        PrefixTuning,
        TfidfSvm,
        StaticEmbeddings,
    )
)


def register_method(method: Class) -> Class:
    """Add a method to `METHODS`, for this process and the runs that it starts.

    A package that is to be used from the command line too has an entry point instead; see "Adding a method" in
    CONTRIBUTING.md.

    Args:
        method: A subclass of `EncoderMethod` or `TextMethod`, from a module that can be imported.

    Returns:
        The class, so that this is a decorator, too.

    Raises:
        MethodError: It is no complete method, or there is another one of its name.
    """
    return METHODS.register(method)


__all__ = [
    "METHODS",
    "EncoderMethod",
    "Method",
    "MethodClass",
    "OptionLabel",
    "TextMethod",
    "Title",
    "TrainedWeightsMethod",
    "register_method",
]
