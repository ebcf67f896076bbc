"""MobileNets of torchvision and timm."""

import os

import numpy as np

from keras_sep.convert.files import read_checkpoint
from keras_sep.convert.mobilenet import Place, Tensor, find_alpha, set_tensors
from keras_sep.models import MobileNet
from keras_sep.models.mobilenet_tables import blocks, stem_filters

_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# timm numbers blocks by stage: how many there are in each.
_STAGES = {
    "v2": (1, 2, 3, 4, 3, 3, 1),
    "v3_small": (1, 2, 3, 2, 3),
    "v3_large": (1, 2, 3, 4, 2, 3),
}


def from_torchvision(checkpoint: str | os.PathLike | dict[str, np.ndarray]) -> MobileNet:
    """A `MobileNet` with the weights of torchvision's `mobilenet_v2` or `mobilenet_v3_…`.

    It gives the same logits, for images scaled as torchvision's. Its padding is "torch".

    Args:
        checkpoint: The `state_dict`, as a dictionary of arrays or a file of `torch.save`.

    Raises:
        ImportError: `checkpoint` is a file and PyTorch is not installed.
        ValueError: The file cannot be read, or tensors are missing, left over or of another
            shape; the message names them. V3 is taken with the widths of its published weights.
    """
    state = _state(checkpoint)
    if "features.1.conv.0.0.weight" in state:
        version = "v2"
    else:
        version = "v3_large" if "features.16.0.weight" in state else "v3_small"
    return _load(version, state, _torchvision, 1e-5 if version == "v2" else 1e-3, "torch")


def from_timm(
    checkpoint: str | os.PathLike | dict[str, np.ndarray],
    padding: str = "torch",
    epsilon: float = 1e-5,
) -> MobileNet:
    """A `MobileNet` with the weights of timm's `mobilenetv2_…` or `mobilenetv3_…`.

    It gives the same logits, for images scaled as timm's.

    Args:
        checkpoint: The `state_dict`, as a dictionary of arrays or a file of `torch.save`.
        padding: What the weights do not tell: "torch", or "same" for the models `tf_…`.
        epsilon: Likewise: 1e-5, or 1e-3 for the models `tf_…`.

    Raises:
        ImportError: `checkpoint` is a file and PyTorch is not installed.
        ValueError: The file cannot be read, or tensors are missing, left over or of another
            shape; the message names them.
    """
    state = _state(checkpoint)
    if "conv_head.bias" not in state:
        version = "v2"
    else:
        version = "v3_large" if "blocks.6.0.conv.weight" in state else "v3_small"
    return _load(version, state, _timm, epsilon, padding)


def _state(checkpoint):
    state = checkpoint if isinstance(checkpoint, dict) else read_checkpoint(checkpoint)
    # Counters of training steps are no weights.
    return {
        name: np.asarray(tensor)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _load(version, state, names_of, epsilon, padding):
    def tensor(place, shape=(0, 0, 0, 0)):
        return _tensor(place, shape, *names_of(version, place))

    def kernel(part, block=None):
        return state.get(tensor(Place(part, block, "kernel")).name)

    projections = [kernel("project", index) for index in range(len(blocks(version, 1.0)))]
    if all(projection is None for projection in projections):
        raise ValueError(
            "checkpoint must be the state_dict of a MobileNet V2 or V3; it starts with "
            f"{', '.join(list(state)[:3]) or 'nothing'}"
        )
    stem, classifier = kernel("stem"), kernel("classifier")
    model = MobileNet(
        version,
        find_alpha(version, stem, projections, axis=0),
        input_shape=(None, None, 3 if stem is None else stem.shape[1]),
        include_top=classifier is not None,
        num_classes=1 if classifier is None else classifier.shape[0],
        padding=padding,
        epsilon=epsilon,
    )
    set_tensors(model, tensor, state)
    return model


def _tensor(place, shape, layer, norm=None, is_linear=False):
    """The tensor at a place, by the names of its layer and of the norm after that."""
    if place.role in _NORM:
        return Tensor(f"{norm}.{_NORM[place.role]}", shape)
    if place.role == "bias":
        return Tensor(f"{layer}.bias", shape)
    name = f"{layer}.weight"
    if is_linear:  # Our (inputs, outputs).
        return Tensor(name, shape[::-1], np.transpose)
    if len(shape) == 2:
        return Tensor(name, (*shape[::-1], 1, 1), lambda kernel: kernel[..., 0, 0].T)
    rows, columns, inputs, outputs = shape
    if place.part == "depthwise":  # Our (rows, columns, channels, 1).
        return Tensor(name, (inputs, 1, rows, columns), lambda kernel: kernel.transpose(2, 3, 0, 1))
    return Tensor(
        name, (outputs, inputs, rows, columns), lambda kernel: kernel.transpose(2, 3, 1, 0)
    )


def _parts(version, block):
    """The layers of a block, which are the same for every width."""
    rows = blocks(version, 1.0)
    inputs = rows[block - 1]["filters"] if block else stem_filters(version, 1.0)
    expands = ["expand"] if rows[block]["hidden_dim"] != inputs else []
    squeezes = ["squeeze_excite"] if rows[block].get("squeeze_dim") else []
    return [*expands, "depthwise", *squeezes, "project"]


def _torchvision(version, place):
    """Names of a layer and of its norm, and whether it is a `Linear`."""
    count = len(blocks(version, 1.0))
    if place.block is None:
        if place.part in ("stem", "head"):
            name = f"features.{0 if place.part == 'stem' else count + 1}"
            return f"{name}.0", f"{name}.1"
        last = 1 if version == "v2" else 3
        return f"classifier.{0 if place.part == 'hidden' else last}", None, True
    parts = _parts(version, place.block)
    name = f"features.{place.block + 1}.{'conv' if version == 'v2' else 'block'}"
    if place.part in ("squeeze", "excite"):
        layer = "fc1" if place.part == "squeeze" else "fc2"
        return (f"{name}.{parts.index('squeeze_excite')}.{layer}",)
    index = parts.index(place.part)
    if version == "v2" and place.part == "project":
        return f"{name}.{index}", f"{name}.{index + 1}"
    return f"{name}.{index}.0", f"{name}.{index}.1"


def _timm(version, place):
    """Names of a layer and of its norm, and whether it is a `Linear`."""
    if place.block is None:
        return {
            "stem": ("conv_stem", "bn1"),
            "head": ("conv_head", "bn2")
            if version == "v2"
            else (
                f"blocks.{len(_STAGES[version])}.0.conv",
                f"blocks.{len(_STAGES[version])}.0.bn1",
            ),
            "hidden": ("conv_head",),
            "classifier": ("classifier", None, True),
        }[place.part]
    stage, index = 0, place.block
    while index >= _STAGES[version][stage]:
        index -= _STAGES[version][stage]
        stage += 1
    name, parts = f"blocks.{stage}.{index}", _parts(version, place.block)
    if place.part in ("squeeze", "excite"):
        return (f"{name}.se.conv_{'reduce' if place.part == 'squeeze' else 'expand'}",)
    norm = f"{name}.bn{[part for part in parts if part != 'squeeze_excite'].index(place.part) + 1}"
    if place.part == "depthwise":
        return f"{name}.conv_dw", norm
    # Without an expansion, the projection has the name that the expansion has elsewhere.
    narrows = place.part == "project" and "expand" in parts
    return f"{name}.{'conv_pwl' if narrows else 'conv_pw'}", norm
