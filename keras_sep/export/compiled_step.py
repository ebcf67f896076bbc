"""One step of a model that keeps a state, in the backend's own runtime, without Keras's work."""

from collections.abc import Callable

import keras


def compile_step(model: keras.Model) -> Callable:
    """Compiles `model.step` with XLA, on PyTorch runs it without gradients.

    Each new shape of the inputs, as a chunk's number of samples, is compiled when it first comes.

    Args:
        model: A built, causal `ConvTasNet`, a `PixelCNN`, or another whose `step` takes tensors and
            the state, and returns tensors and the new state.

    Returns: a function of what `model.step` takes; the state may stay what it returned, the
        backend's tensors.
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
    def step(weights, *inputs):
        # As arguments: XLA would take minutes to fold the weights as constants.
        with keras.StatelessScope(list(zip(model.variables, weights, strict=True))):
            return model.step(*inputs)

    def with_weights(*inputs):
        return step([variable.value for variable in model.variables], *inputs)

    return with_weights
