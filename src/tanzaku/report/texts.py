"""What the report says in English alone: tables, Markdown, LaTeX, CSV, figures and the terminal.

The words of the page are in `languages/`, and so are the sentences of the recommendation.
"""

from tanzaku.report.words import words_of

# Columns of the main table.
METHOD = "Method"
LEARNING_RATE = "Learning rate"
SCALE = "Scale"
RUNS = "Runs"
ACCURACY = "Test accuracy (%)"
INTERVAL = "95 % interval (%)"
INTERVAL_KIND = "Interval covers"
SPREAD = "Lowest–highest (s.d.)"
MACRO_F1 = "Macro-F1 (%)"
THESIS_ACCURACY = "Thesis: accuracy (%)"
THESIS_TABLE = "Thesis: table"
SIZE = "Saved (MB)"
THESIS_SIZE = "Thesis: saved (MB)"
PARAMETERS = "Trained parameters"
TRAIN_SECONDS = "Training (s)"
TRAIN_SECONDS_WITH_EVALUATION = "Training with evaluation (s)"
THESIS_SECONDS = "Thesis: training (s)"
MEMORY = "Peak memory (MB)"
GPU_MEMORY = "Peak GPU memory (MB)"
EPOCHS = "Epochs run / best"

# How documents are read, and what the encoder learnt before, in names and legends.
READINGS = {
    "encoder.max_tokens": "{value:token|tokens}",
    "encoder.pooling": "{value}",
    "encoder.long_text": "{value}",
    "encoder.max_windows": "at most {value:window|windows}",
    "training.hidden_dropout": "hidden dropout {value}",
    "training.attention_dropout": "attention dropout {value}",
    "training.fast": "fast path: {value}",
    "training.precision": "{value}",
    "training.head_learning_rate": "head lr {value}",
    "training.embeddings_learning_rate": "embeddings lr {value}",
    "training.best_by": "best by {value}",
    "training.schedule": "{value}",
    "training.warmup": "warm-up {value}",
    "training.decay": "decay {value}",
    "training.plateau_factor": "reduced by {value}",
    "training.plateau_patience": "after more than {value:epoch|epochs}",
    "encoder.pretrain": "pretrained {value}",
}


# Tables of comparisons and of the Pareto fronts.
RECOMMENDATION = "Recommendation"
COMPARISONS = "Which arms differ"
FRONT = "Pareto fronts"
ARM = "Arm"
COMPARED_WITH = "Compared with {arm}"
DIFFERENCE = "Accuracy: difference (points)"
F1_DIFFERENCE = "Macro-F1: difference (points)"
DIFFERENCE_INTERVAL = "95 % interval"
P_HOLM = "p (Holm)"
OUTCOME = "Outcome"
BETTER, WORSE, NOT_DISTINGUISHABLE = "better", "worse", "not distinguishable"
OUTCOMES = {"better": BETTER, "worse": WORSE, "not distinguishable": NOT_DISTINGUISHABLE}
TEST_BY = "Test"
MCNEMAR, STUDENT_TEST = "McNemar", "t"
COVERS = "Covers"
COVERS_SEEDS, COVERS_ONE, COVERS_DOCUMENTS = "documents, seeds", "documents, one arm's seeds", "documents"
POINTS_INTERVAL = "{low} to {high}"
ON_SIZE_FRONT = "On the front of size"
ON_TIME_FRONT = "On the front of time"
YES, NO = "yes", "no"

# Tables of one adapter at several ranks.
RANK = "Rank"
SEPARATE_ACCURACY = "Trained separately: accuracy (%)"
ITSELF = "itself"
RANKS_NOTE = (
    "Differences are from the arm that was trained at that rank alone with the same settings otherwise, by the same "
    "tests as above; Holm's correction is over all rows of these tables. “Itself”: the adapter's own rank, at which it "
    "was trained. Where one side has a single run, its other seeds are not covered."
)

NONE = "–"
NEVER = "none"
FAILED = "failed"
RUNS_AND_FAILED = "{finished} + {failed} failed"

# Headings and captions.
TITLE = "Rank study report"
SECTION = "Section {number}: {data}, {encoder}"
NO_ENCODER = "no encoder"
RESULTS = "Results"
DATA = "Data"
COMPARISON = "How these runs differ from the thesis's"
FAILED_RUNS = "Failed runs"
ENVIRONMENT = "Environment"
FIGURES = "Figures"

# Tables of classes.
CLASSES = "Each class"
CLASS_RESULTS = "{arm}: precision, recall and F1 of each class on the test set, means over the runs"
WORST_CLASS_RESULTS = "{arm}: the {shown} of {total} classes with the lowest F1 on the test set, means over the runs"
PRECISION, RECALL, F1 = "Precision (%)", "Recall (%)", "F1 (%)"
TEST_DOCUMENTS = "Test documents"

# Data table.
CLASS = "Class"
TRAINING = "Training"
VALIDATION = "Validation"
TEST = "Test"
THESIS_TRAIN = "Thesis: training"
THESIS_VALIDATION = "Thesis: validation"
THESIS_TEST = "Thesis: test"
ALL_CLASSES = "All"
NO_CLASS_COUNTS = "No run has finished, so the records hold no counts per class."

# Sentences.
RUN_COUNT = "{runs:run|runs}: {finished} finished, {failed} failed, {resumed} resumed from a checkpoint."
LEFT_OUT = (
    "{count:run in this folder is not in the study file and is left out|runs in this folder are not in the study file "
    "and are left out}. "
    "`tanzaku study report --all` counts every run."
)
SECTION_COUNT = (
    "The records hold {sections} kinds of runs that may not be compared, for their documents or their encoders differ: "
    "each has its own group of tables."
)
DATA_FACTS = (
    "`{name}`: {classes:class|classes}; {train:,} training, {val:,} validation and "
    "{test:,test document|test documents}; fingerprint {fingerprint}."
)
DATA_COUNTS = "Documents in each class. A dash: the records do not count the training documents by class."
ENCODER_FACTS = (
    "Encoder `{name}` ({model_type}): {shape}, {parameters:,} parameters with its head; fingerprint {fingerprint}."
)
PRETRAINING_FACTS = (
    "Pretrained {options}: the encoder went on learning masked words on the {documents:,training text|training texts}, "
    "{steps:,step|steps} in {seconds:.0f} s, which are not among the runs' seconds; held-out loss {first:.4f} at the "
    "first evaluation and {last:.4f} at the end; fingerprint {fingerprint}."
)
ENCODER_UNKNOWN = "Encoder `{name}`: no run came far enough to load it."
SHARED = "Settings that the runs share: {settings}."
SHARED_GROUP = "{group}: {settings}"
SHARED_GROUPS = {"training": "training", "encoder": "encoder"}
NO_BASELINE = "**{}** {}".format(
    words_of("en")("results.no_baseline"), words_of("en")("results.no_baseline_text", method="`tfidf-svm`")
)
INTERVALS_WILSON = "Arms of one run: Wilson's 95 % interval, which covers other test documents, not other seeds."
INTERVALS_DETERMINISTIC = (
    "Deterministic methods, such as TF-IDF: one run counts for every seed. Wilson's 95 % interval covers other test "
    "documents."
)
INTERVALS_BOTH = (
    "Arms of several runs: mean, and a 95 % interval that covers other seeds and other test documents together."
)
INTERVALS_WIDE = (
    "Of arms of several runs whose predictions are missing the interval is wider than it could be: it takes their "
    "errors to be on the same documents."
)
NO_ORDER = (
    "**No order is claimed** by these intervals: the tests below, on the same test documents, show which arms differ."
)
NO_PREDICTIONS = (
    "**Not compared:** some finished runs lack `predictions.csv` beside their record, so their arms can't be tested "
    "against others, and no order of them is claimed."
)
COMPARISON_NOTES = (
    "“Better” and “worse” where Holm's corrected p is below 0.05, over all pairs of these tables, each counted once: "
    "with 95 % probability none of them is a false alarm. Macro-F1 has a correction of its own.",
    "One run each: McNemar's exact test, about other test documents with these two models. Several runs: a t test over "
    "seeds and documents together; it takes the seeds of two arms as independent.",
    "The intervals of the differences are of one comparison each, without correction.",
)
FRONT_NOTE = (
    "No other arm is as accurate on the test set for less. The front is a description, not a choice: it takes every "
    "difference at face value, those that are not distinguishable too."
)
CHOSEN_BY = (
    "The validation set chose, by mean {measure} only; the test set does not influence the choice, it only checks it. "
    "`--margin` sets the points that the smallest arm may lose, `--choose-by` what arms are chosen by. An arm that is "
    "not better than always answering the most frequent class is never recommended."
)
REPEATED = (
    "{count:finished run repeats|finished runs repeat} another's settings and seed; the latest counts, runs.csv shows "
    "all."
)
SIDE_BY_SIDE = (
    "The thesis's figures are those of its Tables 3.2 to 3.4, beside the arms with their method, rank, learning rate "
    "and epochs. Its sizes are printed in Table 3.2 alone and hold for the same rank in the others; its seconds "
    "include evaluation. Side by side is not like for like: the report's table “How these runs differ from the "
    "thesis's” says in what."
)
ENVIRONMENT_FACTS = (
    "{runs:run|runs}: {cpu}, {cores:core|cores}, {threads:thread|threads}, {memory:.1f} GB memory, GPU {gpu}; "
    "{platform}; commit {commit}; {versions}."
)
ENVIRONMENTS_DIFFER = "The runs come from different machines, versions or commits: their seconds may not be comparable."
COMMIT_DIRTY = "{commit} with uncommitted changes"
COMMIT_UNKNOWN = "unknown"
FAILED_RUN = "`{run_id}` ({arm}, seed {seed}): {error}"

# Figures.
NUMBERED_CLASS = "class {number}"
FONT_MISSING = (
    "no installed font has glyphs for all of these names ({sample}): figures number them instead, in the data "
    "table's order; install a Japanese font (Debian and Ubuntu: `apt-get install fonts-noto-cjk` or `fonts-ipafont`; "
    "macOS and Windows bring one) and make the report again"
)
