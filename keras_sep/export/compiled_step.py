"""One step of a model that keeps a state, in the backend's own runtime, without Keras's work."""

from collections.abc import Callable

import keras

from keras_sep.layers.backend_programs import compiled
from keras_sep.models import ConvTasNet


def compile_step(model: keras.Model) -> Callable:
    """Compiles `model.step` with XLA, on PyTorch records that of a `ConvTasNet` as TorchScript.

    PyTorch runs other models' steps as they are, without gradients: a recording goes the same way
    for all values, and its last bits may change from call to call, which a codec cannot have.

    Each new shape of the inputs, as a chunk's number of samples, is compiled when it first comes.

    Args:
        model: A built, causal `ConvTasNet`, a `PixelCNN`, or another whose `step` takes tensors and
            the state, and returns tensors and the new state.

    Returns: a function of what `model.step` takes; the state may stay what it returned, the
        backend's tensors.
    """
    return compiled(model, model.step, record=isinstance(model, ConvTasNet))
