"""Bits per dimension of a distribution over codes or pixels."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_sep")
class BitsPerDimension(keras.metrics.Metric):
    """Mean of -log₂ of the probability given to each value: bits to code it with the model.

    `update_state(y_true, y_pred, sample_weight=None)` takes integers `(batch, ...)`, logits
    `(batch, ..., num_values)`, and weights of the examples `(batch,)`. The mean is over all values
    of all examples.

    Source: van den Oord et al. 2016 (arXiv 1601.06759), section 5.1.
    """

    def __init__(self, name: str = "bits_per_dimension", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), initializer="zeros", name="total")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.cast(y_pred, "float32")
        nats = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        nats = ops.reshape(nats, (ops.shape(nats)[0], -1))
        weight = ops.ones_like(nats)
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")[:, None]
        self.total.assign_add(ops.sum(nats * weight) / math.log(2))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)
