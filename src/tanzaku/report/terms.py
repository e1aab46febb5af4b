"""Messages that several parts of the report use, by what the records call them; look them up with `Words.text`."""

from __future__ import annotations

from tanzaku.report.words import Words, message

MEASURES = {"accuracy": message("accuracy"), "macro_f1": message("macro-F1")}
OUTCOMES = {
    "better": message("better"),
    "worse": message("worse"),
    "not distinguishable": message("not distinguishable"),
}
INTERVAL_KINDS = {"both": message("documents, seeds"), "wilson": message("documents")}
SEEDS_COVERED = {**INTERVAL_KINDS, "one": message("documents, one arm's seeds"), "none": message("documents")}
AXES = {
    "rank": message("rank r"),
    "accuracy": message("test accuracy (%)"),
    "time": message("training time (s)"),
    "size": message("saved size (MB)"),
}

# What study files call the settings, with blanks instead of underscores.
_METHOD_OPTIONS = (
    message("activation"),
    message("alpha"),
    message("analyzer"),
    message("bits"),
    message("dora"),
    message("dropout"),
    message("final share"),
    message("initial rank"),
    message("initial share"),
    message("initialization"),
    message("interval"),
    message("length"),
    message("longest ngram"),
    message("lora plus ratio"),
    message("max terms"),
    message("norms"),
    message("orthogonality"),
    message("penalty"),
    message("pooler"),
    message("rank"),
    message("rank pattern"),
    message("ranks"),
    message("rslora"),
    message("sensitivity decay"),
    message("targets"),
    message("terms penalty"),
    message("truncate"),
    message("uncertainty decay"),
    message("update"),
    message("width"),
)
_SETTINGS = (
    message("attention dropout"),
    message("batch size"),
    message("best by"),
    message("beta1"),
    message("beta2"),
    message("checkpoint minutes"),
    message("decay"),
    message("embeddings learning rate"),
    message("epochs"),
    message("epsilon"),
    message("eval batch size"),
    message("fast"),
    message("head learning rate"),
    message("hidden dropout"),
    message("learning rate"),
    message("log steps"),
    message("long text"),
    message("max grad norm"),
    message("max tokens"),
    message("max windows"),
    message("padding"),
    message("patience"),
    message("plateau factor"),
    message("plateau patience"),
    message("pooling"),
    message("precision"),
    message("pretrain"),
    message("schedule"),
    message("threshold"),
    message("warmup"),
    message("weight decay"),
)


def setting_name(key: str, *, words: Words) -> str:
    """Such as `batch size` for `training.batch_size`."""
    return words.text(key.rpartition(".")[2].replace("_", " "))
