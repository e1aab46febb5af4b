"""How long the Livedoor News Corpus's documents are, in tokens.

Counted over the corpus as `tanzaku data livedoor` prepares it, [CLS] and [SEP] among them, with a WordPiece vocabulary
of 12,000 pieces over MeCab/IPADIC words. Three quarters of the documents reach 512 tokens. (A larger vocabulary makes
them somewhat shorter.) The counts are facts about the corpus; no text of it is here.
"""

from collections.abc import Sequence

import numpy as np

BIN_TOKENS = 16
LONGEST = 512
# So many documents have 0 to 15 tokens, 16 to 31, and so on; the last entry counts those of 512 and more.
# fmt: off
TRAIN = (0, 0, 4, 0, 2, 1, 1, 0, 1, 3, 0, 3, 6, 5, 9, 8, 9, 14, 21, 26, 27, 32, 53, 38, 58, 62, 54, 64, 61, 72, 56, 52,
         2203)
TEST = (0, 1, 4, 0, 1, 0, 2, 0, 0, 2, 1, 0, 4, 6, 5, 14, 16, 14, 33, 32, 48, 52, 44, 56, 57, 83, 83, 77, 81, 66, 79, 71,
        2754)
# fmt: on


def lengths_at(histogram: Sequence[int], quantiles: np.ndarray, *, max_tokens: int = LONGEST) -> np.ndarray:
    """The lengths at `quantiles` (count,) of a histogram, cut at `max_tokens`: (count,) int64, in tokens.

    Within a bin the documents are taken to lie evenly. Beyond 512 tokens the histogram knows nothing, so a larger
    `max_tokens` cuts there too.
    """
    counts = np.asarray(histogram, dtype=np.int64)
    edges = np.minimum(np.arange(len(counts) + 1) * BIN_TOKENS, LONGEST)
    shares = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    lengths: np.ndarray = np.clip(np.floor(np.interp(quantiles, shares, edges)), 3, max_tokens)
    return lengths.astype(np.int64)


def spread_evenly(histogram: Sequence[int], count: int, *, max_tokens: int = LONGEST) -> np.ndarray:
    """`count` lengths at evenly spaced quantiles, rising: the distribution in small, without chance."""
    return lengths_at(histogram, (np.arange(count) + 0.5) / count, max_tokens=max_tokens)
