"""A step of a stream in the backend's own runtime, without Keras's work around each call."""

from collections.abc import Callable

import keras

from keras_sep.models import ConvTasNet


def compile_step(model: ConvTasNet) -> Callable:
    """Compiles `model.step` with XLA, on PyTorch runs it without gradients.

    Each new number of samples is compiled when it first comes.

    Args:
        model: A built, causal `ConvTasNet`.

    Returns: a function of mixture and state, as `ConvTasNet.step`; the state may stay what it
    returned, the backend's tensors.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # Thrice as fast as the graph, which spends the time between the operations.
        return tf.function(model.step, jit_compile=True)
    if backend == "jax":
        return _jax_step(model)

    import torch

    return torch.inference_mode()(model.step)


def _jax_step(model):
    import jax

    @jax.jit
    def step(weights, mixture, state):
        # As arguments: XLA would take minutes to fold the weights as constants.
        with keras.StatelessScope(list(zip(model.variables, weights, strict=True))):
            return model.step(mixture, state)

    def with_weights(mixture, state):
        return step([variable.value for variable in model.variables], mixture, state)

    return with_weights
