"""How much of a codebook is in use."""

import math

import keras
from keras import ops


class CodebookMetrics(keras.metrics.Metric):
    """Perplexity and usage of a codebook by the codes counted since the last reset.

    `<name>_perplexity` is the exponential of the entropy of the codes' frequencies, from 1 to
    `num_embeddings`; `<name>_usage` the share of the codes that occurred, from 0 to 1. There are
    none before the first count, nor in the logs of a step that counts nothing.

    Args:
        name: Of the quantizer.
        num_embeddings: Codes there are (K).
        layer_counts: Function that returns a variable `(num_embeddings,)` of further counts. A
            quantizer counts there, as JAX drops what `call` does to the variables of metrics;
            models count in `compute_loss`, in this metric's own variable.
    """

    def __init__(self, name: str, num_embeddings: int, layer_counts):
        super().__init__(dtype="float32", name=name)
        self.counts = self.add_variable((num_embeddings,), initializer="zeros", name="counts")
        self.layer_counts = layer_counts
        # Whether the step that runs, or is traced, counts.
        self.in_use = False

    def update_state(self, indices):
        """Counts the codes of `indices`, int32 of any shape; those below 0 do not count."""
        self.in_use = True
        self.counts.assign_add(count_codes(indices, self.counts.shape[0]))

    def reset_state(self):
        for variable in (self.counts, self.layer_counts()):
            variable.assign(ops.zeros(variable.shape, "float32"))

    def result(self):
        traced = _is_unknown(self.counts)
        is_jax = keras.backend.backend() == "jax"
        if is_jax and (traced or _is_unknown(self.layer_counts())):
            counts = ops.convert_to_tensor(self.counts)  # The layer's are out of reach in a step.
        else:
            counts = self.counts + self.layer_counts()
        total = ops.sum(counts)
        if not (self.in_use if traced else ops.convert_to_numpy(total) > 0):
            return {}
        shares = counts / ops.maximum(total, 1.0)
        entropy = -ops.sum(shares * ops.log(ops.maximum(shares, 1e-30)))
        results = {
            f"{self.name}_perplexity": ops.exp(entropy),
            f"{self.name}_usage": ops.mean(ops.cast(counts > 0, "float32")),
        }
        return {name: ops.where(total > 0, value, math.nan) for name, value in results.items()}


def _is_unknown(variable) -> bool:
    """Whether the variable has no value now, as in a step that is compiled, or that JAX runs."""
    try:
        ops.convert_to_numpy(ops.convert_to_tensor(variable))
    except (TypeError, NotImplementedError):
        return True
    return False


def count_codes(indices, num_embeddings: int):
    """How often each code occurs in int32 `indices` of any shape; those below 0 do not count."""
    indices = ops.reshape(indices, (-1,))
    weights = ops.cast(indices >= 0, "float32")
    return ops.segment_sum(weights, ops.maximum(indices, 0), num_embeddings)
