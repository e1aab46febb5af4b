"""How many rows a tensor gets for documents of some length: few numbers, so that few shapes occur.

For matrix products in bfloat16 and for GELU, PyTorch's library on a CPU (oneDNN) compiles a kernel for every shape that
it has not seen yet, and keeps it. Documents of any length, end to end, would give nearly every step new shapes: 15 to
25 % of a training step was compiling, and the memory of a process grew without end. Rounded up, the shapes of a whole
training are seen in its first steps. What is added is masked or dropped, so that nothing that is computed changes.

`python -m benchmarks.machine --only choices` measures other choices of the two constants on the machine at hand.
"""

# Attention is computed document by document, and the wider step costs little: its products are a small part of a step,
# and short documents are a small part of these.
ATTENTION_STEP = 32
# All other products take the rows of a whole batch: it gets at most one part in so many more than it has tokens.
BATCH_PARTS = 16
# A processor's vector of 8 numbers, 32 or 16 bytes each, is the least that pays.
_SMALLEST_STEP = 8


def attention_rows(length: int) -> int:
    """The rows of one document of `length` tokens in attention; one row, a [CLS] that attends, stays one."""
    return length if length <= 1 else -(-length // ATTENTION_STEP) * ATTENTION_STEP


def batch_rows(tokens: int) -> int:
    """The rows of a batch of `tokens` tokens (or documents): `BATCH_PARTS` different numbers between n and 2 n."""
    if tokens <= 0:
        return tokens
    power = 1 << (tokens - 1).bit_length()  # at least `tokens`, and less than twice as much
    step = max(_SMALLEST_STEP, power // (2 * BATCH_PARTS))
    return -(-tokens // step) * step
