"""MobileNets from the weights of other implementations, whatever these call them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np

from keras_sep.convert.tensors import check_tensors
from keras_sep.models import MobileNet
from keras_sep.models.mobilenet_tables import blocks, stem_filters

# Widths with published weights.
ALPHAS = (1.0, 0.75, 0.5, 0.25, 0.35, 1.1, 1.2, 1.3, 1.4)


@dataclass(frozen=True)
class Place:
    """Where a variable of a `MobileNet` sits.

    Attributes:
        part: "stem", "expand", "depthwise", "squeeze", "excite", "project", "head", "hidden" or
            "classifier"; the 1×1 convolution of a V1 block is its "project".
        block: Index of the block, None outside of the blocks.
        role: "kernel", "bias", "gamma", "beta", "moving_mean" or "moving_variance".
    """

    part: str
    block: int | None
    role: str


@dataclass(frozen=True)
class Tensor:
    """What another implementation has for one of our variables.

    Attributes:
        name: Of the tensor.
        shape: As it is there.
        read: From there to our layout, up to a reshape.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[np.ndarray], np.ndarray] = np.asarray


def places(model: MobileNet) -> Iterator[tuple[Place, keras.Variable]]:
    """All variables of a model from the images to the logits."""
    yield from _convolution("stem", None, model.stem)
    for index, block in enumerate(model.blocks):
        if model.version == "v1":
            yield from _convolution("depthwise", index, block.depthwise)
            yield from _convolution("project", index, block.pointwise)
            continue
        if block.expand is not None:
            yield from _convolution("expand", index, block.expand)
        yield from _convolution("depthwise", index, block.depthwise)
        if block.squeeze_excite is not None:
            yield from _dense("squeeze", index, block.squeeze_excite.squeeze)
            yield from _dense("excite", index, block.squeeze_excite.excite)
        yield from _convolution("project", index, block.project)
    if model.head is not None:
        yield from _convolution("head", None, model.head)
    if model.include_top:
        if model.hidden is not None:
            yield from _dense("hidden", None, model.hidden)
        yield from _dense("classifier", None, model.classifier)


def _convolution(part, block, layer):
    yield Place(part, block, "kernel"), layer.kernel
    for role in ("gamma", "beta", "moving_mean", "moving_variance"):
        yield Place(part, block, role), getattr(layer.norm, role)


def _dense(part, block, layer):
    yield Place(part, block, "kernel"), layer.kernel
    yield Place(part, block, "bias"), layer.bias


def set_tensors(
    model: MobileNet,
    tensor_of: Callable[[Place, tuple[int, ...]], Tensor],
    given: dict[str, np.ndarray],
) -> None:
    """Gives a model the weights under the names and in the layouts of another implementation.

    Args:
        model: With batch normalization.
        tensor_of: From a place and our shape to what the other implementation has there.
        given: Tensors by name.

    Raises:
        ValueError: Tensors are missing, left over or of another shape; the message names them.
            The model is as before.
    """
    wanted = [
        (variable, tensor_of(place, tuple(variable.shape))) for place, variable in places(model)
    ]
    check_tensors(given, {tensor.name: tensor.shape for _, tensor in wanted})
    for variable, tensor in wanted:
        variable.assign(tensor.read(given[tensor.name]).reshape(variable.shape))


def find_alpha(version: str, stem, projections: list, axis: int = -1) -> float:
    """The width with published weights that these kernels have.

    Args:
        version: Of `MobileNet`.
        stem: Kernel of the first convolution, None if missing.
        projections: Kernels of the last convolution of each block, None where missing.
        axis: Of a kernel's filters.

    Raises:
        ValueError: None fits.
    """
    kernels = [stem, *projections]
    found = [None if kernel is None else kernel.shape[axis] for kernel in kernels]
    for alpha in ALPHAS:
        filters = [row["filters"] for row in blocks(version, alpha)]
        expected = [stem_filters(version, alpha), *filters]
        if all(
            ours == theirs or theirs is None for ours, theirs in zip(expected, found, strict=True)
        ):
            return alpha
    raise ValueError(
        f"the weights have the widths of no published MobileNet {version}: "
        f"{', '.join(map(str, found))}"
    )
