"""MobileNets of `keras.applications`."""

import os
from pathlib import Path

import keras
import numpy as np

from keras_sep.convert.mobilenet import Place, Tensor, find_alpha, set_tensors
from keras_sep.models import MobileNet
from keras_sep.models.mobilenet_tables import blocks

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
# By the layer of the first convolution and the number of depthwise ones.
_VERSIONS = {
    ("conv1", 13): "v1",
    ("Conv1", 17): "v2",
    ("conv", 11): "v3_small",
    ("conv", 15): "v3_large",
}


def load_keras_applications(
    model: keras.Model | str | os.PathLike, alpha: float | None = None
) -> MobileNet:
    """A `MobileNet` with the weights of a MobileNet V1, V2 or V3 of `keras.applications`.

    It gives the logits that the other has before its softmax or, without the top, the same
    features. A file tells less than a model: V3 gets Keras's defaults (it scales the images, and
    pads those of odd sizes as Keras does that of an unknown size), V2 the padding of images of a
    size that Keras knows, and without the top there is no pooling.

    For fine-tuning: the normalizations of Keras's V2 and V3 have a momentum of 0.999, those of
    `MobileNet` 0.99, so that their statistics follow new images faster.

    Args:
        model: Such a model, or a file of its weights: `.weights.h5`, or `.h5` with the names that
            Keras 3 gives to its layers.
        alpha: Its width multiplier; by default the one that fits of those with published weights.

    Raises:
        ValueError: The file cannot be read; the weights are of no MobileNet, or of a V3 with
            `minimalistic=True`, which `MobileNet` has not; or tensors are missing, left over or of
            another shape; the message names them.
    """
    if isinstance(model, keras.Model):
        tensors = {
            f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
            for layer in model.layers
            for variable in layer.weights
        }
    else:
        tensors = read_layers(Path(model))
    version = _version(tensors)

    def kernel(part, block=None):
        return tensors.get(_tensor(version, Place(part, block, "kernel"), ()).name)

    stem, classifier = kernel("stem"), kernel("classifier")
    if alpha is None:
        projections = [kernel("project", index) for index in range(len(blocks(version, 1.0)))]
        alpha = find_alpha(version, stem, projections)
    ours = MobileNet(
        version,
        alpha,
        **{
            "input_shape": (None, None, stem.shape[-2]),
            "padding": "same" if version == "v2" else "keras",
            "include_top": classifier is not None,
            "num_classes": 1 if classifier is None else classifier.shape[-1],
            "include_preprocessing": version.startswith("v3"),
            **(_told_by(model, version) if isinstance(model, keras.Model) else {}),
        },
    )
    set_tensors(ours, lambda place, shape: _tensor(version, place, shape), tensors)
    return ours


def read_layers(path: Path) -> dict[str, np.ndarray]:
    """Arrays by `layer/variable` of a file that Keras's `save_weights` or `save` wrote.

    Raises:
        ValueError: The file is missing, damaged or of another kind.
    """
    import h5py

    if not path.is_file() or path.suffix != ".h5":
        raise ValueError(
            f"model must be a Keras model or a .weights.h5 or .h5 file that exists, got {path}"
        )
    try:
        with h5py.File(path, "r") as file:
            tensors = dict(_new_layers(file) if "layers" in file else _old_layers(file))
    # h5py has no common error.
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} cannot be read as weights of Keras: {reason}") from None
    if not tensors:
        raise ValueError(f"{path} holds no weights")
    return tensors


def _new_layers(file):
    """Keras 3: groups named by class and number, with the layer's own name beside its variables."""
    for group in file["layers"].values():
        variables = group["vars"]
        roles = _NORM if len(variables) == 4 else ("kernel", "bias")
        for role, index in zip(roles, sorted(variables), strict=False):
            yield f"{variables.attrs['name']}/{role}", variables[index][()]


def _old_layers(file):
    """Keras 2 and `model.save("….h5")`: groups named by layer."""
    for layer, group in file.get("model_weights", file).items():
        for name in group.attrs["weight_names"]:
            name = name.decode() if isinstance(name, bytes) else name
            role = name.rpartition("/")[2].partition(":")[0].removeprefix("depthwise_")
            yield f"{layer}/{role}", group[name][()]


def _version(tensors):
    count = sum("conv_dw_" in name or "depthwise" in name for name in tensors if "/kernel" in name)
    for (first, depthwise), version in _VERSIONS.items():
        if depthwise == count and f"{first}/kernel" in tensors:
            if version.startswith("v3") and not any("squeeze_excite" in name for name in tensors):
                raise ValueError(
                    "the weights are of a MobileNet V3 with minimalistic=True, which has no "
                    "squeeze-excite and is not among the versions of keras_sep's MobileNet; give "
                    "one with minimalistic=False"
                )
            return version
    raise ValueError(
        "the weights are of no MobileNet of keras.applications: their first layers are "
        f"{', '.join(list(tensors)[:3]) or 'none'}"
    )


def _told_by(model, version):
    """Arguments that only a model tells, not its weights."""
    kinds = {type(layer): layer for layer in model.layers}
    pooling = {
        keras.layers.GlobalAveragePooling2D: "avg",
        keras.layers.GlobalMaxPooling2D: "max",
    }.get(type(model.layers[-1]))
    size_is_known = None not in model.input_shape[1:]
    dropout = kinds.get(keras.layers.Dropout)
    return {
        "padding": "same" if version != "v1" and size_is_known else "keras",
        "include_preprocessing": keras.layers.Rescaling in kinds,
        "pooling": pooling,
        "dropout_rate": dropout.rate if dropout is not None else 0.0,
    }


def _tensor(version: str, place: Place, shape: tuple[int, ...]) -> Tensor:
    """What Keras has at a place. Its dense layers are 1×1 convolutions, but for V2's."""
    convolution, norm = {"v1": _v1, "v2": _v2}.get(version, _v3)(place)
    if len(shape) == 2 and version != "v2":
        shape = (1, 1, *shape)
    return Tensor(f"{norm if place.role in _NORM else convolution}/{place.role}", shape)


def _v1(place):
    if place.block is None:
        name = {"stem": "conv1", "classifier": "conv_preds"}[place.part]
    else:
        name = f"conv_{'dw' if place.part == 'depthwise' else 'pw'}_{place.block + 1}"
    return name, f"{name}_bn"


def _v2(place):
    if place.block is None:
        return {
            "stem": ("Conv1", "bn_Conv1"),
            "head": ("Conv_1", "Conv_1_bn"),
            "classifier": ("predictions", None),
        }[place.part]
    name = f"block_{place.block}_{place.part}" if place.block else f"expanded_conv_{place.part}"
    return name, f"{name}_BN"


def _v3(place):
    if place.block is None:
        name = {"stem": "conv", "head": "conv_1", "hidden": "conv_2", "classifier": "logits"}
        return name[place.part], f"{name[place.part]}_bn"
    part = {"squeeze": "squeeze_excite_conv", "excite": "squeeze_excite_conv_1"}.get(
        place.part, place.part
    )
    name = f"expanded_conv_{place.block}_{part}" if place.block else f"expanded_conv_{part}"
    return name, f"{name}_bn"
