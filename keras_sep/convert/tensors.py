"""The weights of a Conv-TasNet under the names and in the layouts of PyTorch's implementations."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from keras_sep.models import ConvTasNet

_TO_TORCH = {
    # Our (taps, 1, filters) to (filters, 1, taps), for encoder and decoder.
    "filterbank": lambda kernel: kernel.transpose(2, 1, 0),
    # Our (taps, channels, 1) to (channels, 1, taps).
    "depthwise": lambda kernel: kernel.transpose(1, 2, 0),
    # Our (inputs, outputs) to a convolution of one tap, (outputs, inputs, 1).
    "pointwise": lambda kernel: kernel.T[..., None],
    "vector": lambda vector: vector,
    "slope": lambda alpha: alpha.reshape(1),
}
_FROM_TORCH = {
    "filterbank": lambda kernel: kernel.transpose(2, 1, 0),
    "depthwise": lambda kernel: kernel.transpose(2, 0, 1),
    "pointwise": lambda kernel: kernel[..., 0].T,
    "vector": lambda vector: vector,
    "slope": lambda slope: slope,
}


@dataclass(frozen=True)
class Names:
    """How an implementation names its tensors; `{i}` is the index of a block.

    `residual` and `skip` are the last parts of a block's two outputs, `norm` the names of a
    normalization's scale and offset.
    """

    encoder: str
    input_norm: str
    bottleneck: str
    block: str
    depthwise: str
    residual: str
    skip: str
    mask_prelu: str
    mask_conv: str
    decoder: str
    norm: tuple[str, str]


@dataclass(frozen=True)
class _Tensor:
    """One of our variables, and the tensors it is the concatenation of (along the last axis)."""

    variable: keras.Variable
    layout: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]


def to_tensors(model: ConvTasNet, names: Names) -> dict[str, np.ndarray]:
    """All weights of a model by name, float32, in PyTorch's layouts."""
    tensors = {}
    for tensor in _tensors(model, names):
        value = keras.ops.convert_to_numpy(tensor.variable).astype("float32")
        pieces = np.split(value, np.cumsum(tensor.sizes)[:-1], axis=-1)
        for name, piece in zip(tensor.names, pieces, strict=True):
            tensors[name] = np.ascontiguousarray(_TO_TORCH[tensor.layout](piece))
    return tensors


def set_tensors(
    model: ConvTasNet,
    names: Names,
    given: dict[str, np.ndarray],
    unused: dict[str, np.ndarray] | None = None,
) -> None:
    """Gives a built model the weights under these names; `unused` may be given besides.

    Raises:
        ValueError: Tensors are missing, left over or of another shape; the message names them.
            The model is as before.
    """
    optional = {name: tensor for name, tensor in (unused or {}).items() if name in given}
    expected = {**to_tensors(model, names), **optional}
    check_tensors(given, {name: tensor.shape for name, tensor in expected.items()})
    for tensor in _tensors(model, names):
        pieces = [_FROM_TORCH[tensor.layout](given[name]) for name in tensor.names]
        value = np.concatenate(pieces, axis=-1)
        tensor.variable.assign(value.reshape(tensor.variable.shape))


def check_model(model) -> None:
    """Raises ValueError unless it is a built `ConvTasNet`."""
    if not isinstance(model, ConvTasNet):
        raise ValueError(f"model must be a ConvTasNet, got {type(model).__name__}")
    if not model.built:
        raise ValueError("model must be built, with model.build((None, None)) or a first call")


def check_tensors(given: dict[str, np.ndarray], expected: dict[str, tuple[int, ...]]) -> None:
    """Raises ValueError unless the tensors have the expected names and shapes."""
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [f"{name} is not part of the model" for name in given if name not in expected]
    problems += [
        f"{name} has shape {tuple(given[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in given and tuple(given[name].shape) != tuple(shape)
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError("the weights do not fit the model: " + "; ".join(problems[:5]) + more)


def _tensors(model, names) -> Iterator[_Tensor]:
    tcn = model.separator
    yield _whole(model.encoder.kernel, "filterbank", names.encoder)
    yield from _norm(tcn.norm, names.input_norm, names)
    yield from _pointwise(tcn.bottleneck, [names.bottleneck])
    for index, block in enumerate(tcn.blocks):
        prefix = names.block.format(i=index)
        conv = block.separable_conv
        yield from _pointwise(block.expand, [f"{prefix}.0"])
        yield _whole(block.prelu.alpha, "slope", f"{prefix}.1.weight")
        yield from _norm(block.norm, f"{prefix}.2", names)
        depthwise = f"{prefix}.{names.depthwise}"
        yield _whole(conv.depthwise.kernel, "depthwise", f"{depthwise}.weight")
        yield _whole(conv.depthwise.bias, "vector", f"{depthwise}.bias")
        yield _whole(conv.prelu.alpha, "slope", f"{prefix}.4.weight")
        yield from _norm(conv.norm, f"{prefix}.5", names)
        outputs = prefix.rpartition(".")[0]
        residual = [f"{outputs}.{names.residual}"] if block.residual else []
        skip = [f"{outputs}.{names.skip}"] if block.skip_dim else []
        sizes = ([model.bottleneck_dim] if residual else []) + ([block.skip_dim] if skip else [])
        yield from _pointwise(conv.pointwise, residual + skip, sizes)
    yield _whole(tcn.prelu.alpha, "slope", names.mask_prelu)
    yield from _pointwise(tcn.masks, [names.mask_conv])
    yield _whole(model.decoder.kernel, "filterbank", names.decoder)


def _whole(variable, layout, name):
    return _Tensor(variable, layout, (name,), (variable.shape[-1],))


def _pointwise(dense, names, sizes=None):
    sizes = tuple(sizes or (dense.units,))
    yield _Tensor(dense.kernel, "pointwise", tuple(f"{name}.weight" for name in names), sizes)
    yield _Tensor(dense.bias, "vector", tuple(f"{name}.bias" for name in names), sizes)


def _norm(norm, name, names):
    batch = isinstance(norm, keras.layers.BatchNormalization)
    scale, offset = ("weight", "bias") if batch else names.norm
    yield _whole(norm.gamma, "vector", f"{name}.{scale}")
    yield _whole(norm.beta, "vector", f"{name}.{offset}")
    if batch:
        yield _whole(norm.moving_mean, "vector", f"{name}.running_mean")
        yield _whole(norm.moving_variance, "vector", f"{name}.running_var")
