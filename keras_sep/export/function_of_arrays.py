"""A separator as a function of arrays."""

from collections.abc import Callable

import keras
from keras import ops

from keras_sep.export.folded_conv_tasnet import can_fold, fold_for_inference
from keras_sep.layers.backend_programs import compiled
from keras_sep.models import ConvTasNet


def array_function(model: keras.Model, jit_compile: bool = False) -> Callable:
    """A model as a function of NumPy arrays, in the form that is fastest on the running backend.

    A model that `fold_for_inference` takes is folded, with the weights that it has now. JAX runs a
    `ConvTasNet` as `compiled` has it. Others have Keras's own `predict_on_batch`.

    Args:
        model: A built `ConvTasNet` or another model.
        jit_compile: That of `fold_for_inference`, of PyTorch. JAX always compiles.

    Returns: a function from inputs to outputs, arrays; new lengths of a folded model need no new
        compilation, unless `jit_compile`.

    Raises:
        ValueError: `jit_compile`, and `fold_for_inference` does not take the model so.
    """
    backend = keras.backend.backend()
    if isinstance(model, ConvTasNet) and backend == "jax":
        separate = compiled(model, lambda mixture: model(mixture, training=False))
        return lambda mixture: ops.convert_to_numpy(separate(mixture))
    if not (jit_compile or can_fold(model)):
        return model.predict_on_batch
    folded = fold_for_inference(model, jit_compile)
    if backend == "tensorflow":
        import tensorflow as tf

        folded = tf.function(folded, input_signature=[tf.TensorSpec((None, None), tf.float32)])
    return lambda mixture: ops.convert_to_numpy(folded(ops.convert_to_tensor(mixture)))
