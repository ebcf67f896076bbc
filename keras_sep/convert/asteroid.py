"""Conv-TasNet of asteroid."""

import os

import numpy as np

from keras_sep.convert.files import read_checkpoint, write_checkpoint
from keras_sep.convert.tensors import Names, check_model, set_tensors, to_tensors
from keras_sep.models import ConvTasNet

# asteroid's cLN normalizes each frame by itself; its cgLN is the paper's cLN.
_NORMALIZATIONS = {"gLN": "global", "cLN": "layer", "cgLN": "cumulative", "bN": "batch"}
_MASK_ACTIVATIONS = {
    **{name: name for name in ("sigmoid", "relu", "softmax", "linear", "tanh", "gelu")},
    "swish": "silu",
    "log_sigmoid": "log_sigmoid",
}
_ARGUMENTS = {
    "n_src": "num_sources",
    "n_filters": "filters",
    "kernel_size": "kernel_size",
    "stride": "strides",
    "bn_chan": "bottleneck_dim",
    "hid_chan": "hidden_dim",
    "conv_kernel_size": "conv_kernel_size",
    "n_blocks": "num_blocks",
    "n_repeats": "num_repeats",
    "causal": "causal",
}


def from_asteroid(checkpoint: str | os.PathLike | dict) -> ConvTasNet:
    """A model with the weights of an `asteroid.models.ConvTasNet`.

    Its outputs equal asteroid's: the padding is "valid".

    Args:
        checkpoint: What asteroid's `serialize` makes, a dictionary with `model_args` and
            `state_dict` (of arrays), or the file it was saved to (`pytorch_model.bin`,
            `model.pth`).

    Raises:
        ImportError: `checkpoint` is a file and PyTorch is not installed.
        ValueError: The file cannot be read, is of another model, has an option that is not
            supported, or its tensors do not fit its arguments.
    """
    conf = checkpoint if isinstance(checkpoint, dict) else read_checkpoint(checkpoint)
    missing = {"model_name", "model_args", "state_dict"} - conf.keys()
    if missing:
        raise ValueError(
            "checkpoint must be of an asteroid model, with model_name, model_args and "
            f"state_dict; it has no {', '.join(sorted(missing))}"
        )
    if conf["model_name"] != "ConvTasNet":
        raise ValueError(f"checkpoint must be of a ConvTasNet, got {conf['model_name']}")
    args = {"stride": None, "causal": False, "conv_kernel_size": 3, **conf["model_args"]}
    missing = {*_ARGUMENTS, "skip_chan", "norm_type", "mask_act"} - args.keys()
    if missing:
        raise ValueError(f"checkpoint has no {', '.join(sorted(missing))} among its model_args")
    _check_supported(args)
    model = ConvTasNet(
        **{ours: args[theirs] for theirs, ours in _ARGUMENTS.items()},
        sample_rate=round(args.get("sample_rate") or 8000),
        skip_dim=args["skip_chan"] or None,
        normalization=_NORMALIZATIONS[args["norm_type"]],
        mask_activation=_MASK_ACTIVATIONS[args["mask_act"]],
        encoder_activation=args.get("encoder_activation"),
        padding="valid",
    )
    model.build((None, None))
    state = {name: np.asarray(tensor) for name, tensor in conf["state_dict"].items()}
    unused = _unused(model)
    for name, value in unused.items():
        if name in state and state[name].shape == value.shape:
            del state[name]
    set_tensors(model, _names(model), state)
    return model


def to_asteroid(model: ConvTasNet, path: str | os.PathLike | None = None) -> dict:
    """The checkpoint of the `asteroid.models.ConvTasNet` that equals a model.

    `asteroid.models.ConvTasNet.from_pretrained` loads it. asteroid has no padding: a model with
    "same" padding gives other samples there within a kernel of the ends.

    Args:
        model: A built model.
        path: Where to write it with `torch.save`, or None.

    Returns: A dictionary with `model_name`, `model_args` and `state_dict` (NumPy arrays).

    Raises:
        ImportError: `path` is given and PyTorch is not installed.
        ValueError: `model` is of another kind or not built.
    """
    check_model(model)
    norms = {ours: theirs for theirs, ours in _NORMALIZATIONS.items()}
    masks = {ours: theirs for theirs, ours in _MASK_ACTIVATIONS.items()}
    checkpoint = {
        "model_name": "ConvTasNet",
        "model_args": {
            **{theirs: getattr(model, ours) for theirs, ours in _ARGUMENTS.items()},
            "fb_name": "free",
            "sample_rate": float(model.sample_rate),
            "skip_chan": model.skip_dim or 0,
            "norm_type": norms[model.normalization],
            "mask_act": masks[model.mask_activation],
            "encoder_activation": model.encoder_activation,
        },
        "state_dict": {**to_tensors(model, _names(model)), **_unused(model)},
    }
    if path is not None:
        write_checkpoint(checkpoint, path)
    return checkpoint


def _names(model):
    return Names(
        encoder="encoder.filterbank._filters",
        input_norm="masker.bottleneck.0",
        bottleneck="masker.bottleneck.1",
        block="masker.TCN.{i}.shared_block",
        depthwise="3.0" if model.causal else "3",
        residual="res_conv",
        skip="skip_conv",
        mask_prelu="masker.mask_net.0.weight",
        mask_conv="masker.mask_net.1",
        decoder="decoder.filterbank._filters",
        norm=("gamma", "beta"),
    )


def _unused(model):
    """asteroid's tensors that its outputs do not depend on."""
    unused = {}
    last = len(model.separator.blocks) - 1
    if model.skip_dim is not None:
        shape = (model.bottleneck_dim, model.hidden_dim, 1)
        unused[f"masker.TCN.{last}.res_conv.weight"] = np.zeros(shape, "float32")
        unused[f"masker.TCN.{last}.res_conv.bias"] = np.zeros(shape[0], "float32")
    if model.normalization == "batch":
        norms = [f"masker.TCN.{i}.shared_block.{k}" for i in range(last + 1) for k in (2, 5)]
        for name in ["masker.bottleneck.0", *norms]:
            unused[f"{name}.num_batches_tracked"] = np.zeros((), "int64")
    return unused


def _check_supported(args):
    supported = {
        "fb_name": ("free", "FreeFB"),
        "in_chan": (None, args.get("n_filters")),
        "out_chan": (None, args.get("n_filters")),
        "norm_type": tuple(_NORMALIZATIONS),
        "mask_act": tuple(_MASK_ACTIVATIONS),
        "encoder_activation": (None, "linear", "relu", "sigmoid", "tanh"),
    }
    for name, allowed in supported.items():
        if name in args and args[name] not in allowed:
            raise ValueError(
                f"checkpoint has {name}={args[name]!r}, which is not supported; "
                f"supported are {', '.join(map(repr, allowed))}"
            )
