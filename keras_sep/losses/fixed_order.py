"""Sources in a given order."""

import keras
from keras import ops

from keras_sep.losses.sources import LossOfSources, check_sources


@keras.saving.register_keras_serializable(package="keras_sep")
class FixedOrder(LossOfSources):
    """The mean of a loss over sources that come in the order of their references.

    For sources that differ in kind: in speech enhancement the first is the speech, the second the
    noise. Where they may come in any order, use `PermutationInvariant`.

    Args:
        loss: A Keras loss whose `call` reduces the last axis, as `SISNR` does.

    Call arguments: sources `(batch, num_sources, samples)`. Before reduction the loss has the
    shape `(batch,)`.

    Raises:
        ValueError: `loss` is no Keras loss; in a call, shapes differ or are not of three axes.
    """

    def __init__(self, loss: keras.losses.Loss, name: str = "fixed_order", **kwargs):
        super().__init__(loss, name=name, **kwargs)

    def call(self, y_true, y_pred):
        check_sources(y_true, y_pred)
        return ops.mean(self.loss.call(y_true, y_pred), axis=-1)
