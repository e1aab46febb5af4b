"""The arithmetic that a LoRA step cannot do without.

A product of matrices (a, b) and (b, c) is 2·a·b·c floating-point operations. What is left out (softmax, GELU, layer
normalisation, the optimiser) is below one per cent of that at BERT-base's shape.
"""

from collections.abc import Sequence

from benchmarks.scale import Shape


def lora_step_flops(
    lengths: Sequence[int], *, shape: Shape, rank: int, labels: int, last_layer_for_first_token: bool = True
) -> int:
    """Operations of one forward and backward pass with LoRA on query and value, over real tokens only.

    With t tokens, width h, inner width f and rank r, a layer takes

        forward:  2·t·(4h² + 2hf) for its six frozen matrices, 4·t²·h for the two attention products, 4·t·h·r for A and
                  B of the query, and again of the value;
        backward: the same 2·t·(4h² + 2hf) for the gradients of activations (a frozen matrix has none of its own),
                  8·t²·h for attention, 8·t·h·r for each of the two LoRA pairs (weights and activations).

    Two savings are exact and counted: nothing below the first layer is trained, so the gradients of its input, and with
    them that of its keys, are not needed; and the classifier reads the first token of the last layer alone, so only
    keys and values are needed for its other tokens.

    Args:
        lengths: Tokens of each document.
        shape: The encoder's.
        rank: LoRA's r.
        labels: Outputs of the classifier.
        last_layer_for_first_token: Count the second saving; without it, what a plain implementation computes.
    """
    total = 0
    for tokens in lengths:
        for layer in range(shape.layers):
            first_token_only = last_layer_for_first_token and layer == shape.layers - 1
            total += layer_flops(
                tokens, queries=1 if first_token_only else tokens, shape=shape, rank=rank, trained_below=layer > 0
            )
        # The pooler is frozen, the classifier trained.
        total += 2 * 2 * shape.hidden**2 + 3 * 2 * shape.hidden * labels
    return total


def forward_flops(lengths: Sequence[int], *, shape: Shape, labels: int) -> int:
    """Operations of classifying documents of `lengths` tokens: the forward passes alone, without any adapter."""
    total = 0
    for tokens in lengths:
        for layer in range(shape.layers):
            total += layer_forward_flops(tokens, queries=1 if layer == shape.layers - 1 else tokens, shape=shape)
        total += 2 * shape.hidden**2 + 2 * shape.hidden * labels  # the pooler and the classifier
    return total


def layer_forward_flops(tokens: int, *, queries: int, shape: Shape, rank: int = 0) -> int:
    """One layer's forward pass for a document of which `queries` tokens are wanted from the layer."""
    square, inner, pair = 2 * shape.hidden**2, 2 * shape.hidden * shape.intermediate, 2 * shape.hidden * rank
    attention = 2 * queries * tokens * shape.hidden
    after_attention = queries * (square + 2 * inner)
    into_attention = queries * square + 2 * tokens * square  # query; key and value
    lora = 2 * pair * (queries + tokens)  # A and B, for query and value
    return into_attention + 2 * attention + after_attention + lora


def layer_flops(tokens: int, *, queries: int, shape: Shape, rank: int, trained_below: bool) -> int:
    """One layer, forward and backward, for a document of which `queries` tokens are wanted from the layer.

    `trained_below` says whether the gradient of the layer's input is needed.
    """
    square, inner, pair = 2 * shape.hidden**2, 2 * shape.hidden * shape.intermediate, 2 * shape.hidden * rank
    attention = 2 * queries * tokens * shape.hidden
    after_attention = queries * (square + 2 * inner)
    into_attention = queries * square + 2 * tokens * square  # query; key and value
    lora = 2 * pair * (queries + tokens)  # A and B, for query and value
    forward = layer_forward_flops(tokens, queries=queries, shape=shape, rank=rank)
    # LoRA's two weights have gradients, and B's input; A's input only where something is trained below.
    backward = after_attention + 3 * attention + lora + pair * (queries + tokens)
    if trained_below:
        backward += into_attention + attention + pair * (queries + tokens)
    return forward + backward
