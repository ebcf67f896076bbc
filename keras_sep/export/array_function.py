"""A separator as a function of arrays."""

from collections.abc import Callable

import keras

from keras_sep.export.fold_for_inference import can_fold, fold_for_inference


def array_function(model: keras.Model) -> Callable:
    """A model as a function of NumPy arrays, in the form that is fastest on the running backend.

    On TensorFlow a model that `fold_for_inference` takes is folded, with the weights that it has
    now. Other models, and other backends, have Keras's own `predict_on_batch`.

    Args:
        model: A built `ConvTasNet` or another model.

    Returns: a function from inputs to outputs, arrays; new lengths of a folded model need no new
        compilation.
    """
    if keras.backend.backend() != "tensorflow" or not can_fold(model):
        return model.predict_on_batch
    import tensorflow as tf

    separate = tf.function(
        fold_for_inference(model), input_signature=[tf.TensorSpec((None, None), tf.float32)]
    )
    return lambda mixture: separate(tf.constant(mixture)).numpy()
