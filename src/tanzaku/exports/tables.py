"""Static embeddings as an ONNX graph: the mean of the scores that a document's tokens have in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tanzaku.exports.terms import constants_of, graph_of

if TYPE_CHECKING:
    import onnx

    from tanzaku.methods.static import TokenTable


def table_graph(table: TokenTable) -> onnx.ModelProto:
    """A graph from `input_ids` and `attention_mask` (documents, tokens) int64 to `logits` (documents, labels).

    The table stays in 8 bits. Special tokens and padding do not count.
    """
    from onnx import TensorProto, helper

    special: Any = sorted(set(table.tokenizer.all_special_ids))
    constants = {
        "special": np.array(special, np.int64),
        "whole": table.whole,
        "scales": table.scales.astype(np.float32),
        "offsets": table.offsets.astype(np.float32),
        "one": np.ones(1, np.float32),
        "tokens_axis": np.array([1], np.int64),
        "last_axis": np.array([-1], np.int64),
    }
    to_float: dict[str, Any] = {"to": TensorProto.FLOAT}
    nodes = [
        helper.make_node("Unsqueeze", ["input_ids", "last_axis"], ["ids"]),  # (documents, tokens, 1)
        helper.make_node("Equal", ["ids", "special"], ["matches"]),  # (documents, tokens, special)
        helper.make_node("Cast", ["matches"], ["match_numbers"], **to_float),
        helper.make_node("ReduceMax", ["match_numbers", "last_axis"], ["is_special"], keepdims=1),
        helper.make_node("Sub", ["one", "is_special"], ["is_ordinary"]),
        helper.make_node("Cast", ["attention_mask"], ["mask_numbers"], **to_float),
        helper.make_node("Unsqueeze", ["mask_numbers", "last_axis"], ["present"]),
        helper.make_node("Mul", ["is_ordinary", "present"], ["counted"]),  # (documents, tokens, 1)
        helper.make_node("Gather", ["whole", "input_ids"], ["found"]),  # (documents, tokens, labels)
        helper.make_node("Cast", ["found"], ["scores"], **to_float),
        helper.make_node("Mul", ["scores", "counted"], ["counted_scores"]),
        helper.make_node("ReduceSum", ["counted_scores", "tokens_axis"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["counted", "tokens_axis"], ["counts"], keepdims=0),
        helper.make_node("Max", ["counts", "one"], ["divisors"]),
        helper.make_node("Div", ["sums", "divisors"], ["means"]),
        helper.make_node("Mul", ["means", "scales"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offsets"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["documents", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    return graph_of(nodes, inputs, labels=len(table.offsets), constants=constants_of(constants))
