"""What a model costs: parameters and multiply-adds, by tracing it."""

import contextlib
import math
from dataclasses import dataclass

import keras
from keras import tree

from keras_sep.layers import WaveformDecoder

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    WaveformDecoder,
)


@dataclass(frozen=True)
class LayerCost:
    """One part of a model.

    Attributes:
        name: The part.
        output_shape: Without the batch axis.
        parameters: Trainable or not.
        multiply_adds: Of products and convolutions, for one input.
    """

    name: str
    output_shape: tuple
    parameters: int
    multiply_adds: int


def layer_costs(model: keras.Model, input_shape: tuple[int, ...]) -> list[LayerCost]:
    """The layers of a built model in the order of their calls.

    A layer counts one multiply-add for each weight of its kernel and each position that the
    kernel is applied at. Products without a kernel (a mask times features) and all sums and
    activations count nothing; a layer that is called again counts once. Nothing is computed: the
    model is traced.

    Args:
        model: A model of ours, or any other whose kernels are attributes named `kernel`.
        input_shape: Of one input, without the batch axis.
    """
    calls = {}
    with contextlib.ExitStack() as stack:
        for layer in model._flatten_layers(include_self=False):
            stack.enter_context(_recorded(layer, calls))
        # Not the model's own method, which takes the short cut of its `compute_output_shape`.
        keras.Operation.compute_output_spec(model, keras.KerasTensor((1, *input_shape)))
    return [
        LayerCost(
            layer.name,
            calls[id(layer)][1][1:],
            layer.count_params(),
            sum(_multiply_adds(part, calls) for part in layer._flatten_layers()),
        )
        for layer in model.layers
        if id(layer) in calls
    ]


def multiply_adds(model: keras.Model, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of a built model for one input of that shape; see `layer_costs`."""
    return sum(cost.multiply_adds for cost in layer_costs(model, input_shape))


@contextlib.contextmanager
def _recorded(layer, calls):
    """Notes the shapes of a layer's input and output."""
    call = layer.call

    def recording(inputs, *args, **kwargs):
        outputs = call(inputs, *args, **kwargs)
        calls[id(layer)] = tuple(
            tuple(tree.flatten(tensors)[0].shape) for tensors in (inputs, outputs)
        )
        return outputs

    layer.call = recording
    fuses = hasattr(layer, "then_dense")
    if fuses:
        # As the two layers that it stands for, so that the second one's call is noted.
        layer.then_dense = lambda inputs, dense: dense(layer(inputs))
    try:
        yield
    finally:
        del layer.call
        if fuses:
            del layer.then_dense


def _multiply_adds(layer, calls):
    kernel = getattr(layer, "kernel", None)
    if kernel is None or id(layer) not in calls:
        return 0
    inputs, outputs = calls[id(layer)]
    # A transposed convolution applies its kernel at each position of its input.
    # The batch axis counts: a layer inside may get many pieces of one input.
    positions = inputs if isinstance(layer, _TRANSPOSED) else outputs
    return math.prod(kernel.shape) * math.prod(positions[:-1])
