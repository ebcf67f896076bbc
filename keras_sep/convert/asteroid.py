"""Conv-TasNet of asteroid."""

import os

import numpy as np

from keras_sep.convert.files import read_checkpoint, write_checkpoint
from keras_sep.convert.tensors import Names, check_model, set_tensors, to_tensors
from keras_sep.models import ConvTasNet

# asteroid's cLN normalizes each frame by itself; its cgLN is the paper's cLN.
_NORMALIZATIONS = {"gLN": "global", "cLN": "layer", "cgLN": "cumulative", "bN": "batch"}
_CAUSAL_NORMALIZATIONS = ("cLN", "cgLN")
_ACTIVATIONS = {
    **{name: name for name in ("linear", "relu", "leaky_relu", "sigmoid", "tanh", "gelu")},
    "swish": "silu",
}
_MASK_ACTIVATIONS = {**_ACTIVATIONS, "softmax": "softmax"}
_ENCODER_ACTIVATIONS = {None: None, **_ACTIVATIONS}
# asteroid's other activations, and why they are refused.
_REASONS = {
    "prelu": "its slope is a weight, and activations here have none",
    "softmax": "asteroid takes the encoder's over the examples of a batch",
}
_ENCODER = "encoder.filterbank._filters"
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
_OTHER_ARGUMENTS = ("skip_chan", "norm_type", "mask_act")
_OPTIONAL_ARGUMENTS = ("sample_rate", "encoder_activation", "fb_name", "in_chan", "out_chan")


def from_asteroid(
    checkpoint: str | os.PathLike | dict, model_args: dict | None = None
) -> ConvTasNet:
    """A model with the weights of an `asteroid.models.ConvTasNet`.

    Its outputs equal asteroid's: the padding is "valid". All activations of asteroid are taken
    but "prelu", which has a weight, and "softmax" of the encoder.

    Args:
        checkpoint: What asteroid's `serialize` makes, a dictionary with `model_name`, `model_args`
            and `state_dict` (of arrays), or the file it was saved to (`pytorch_model.bin`,
            `model.pth`). Or a `state_dict` alone, a dictionary of arrays or a file.
        model_args: For a `state_dict` alone, the arguments of asteroid's model by their names
            there: n_src, n_filters, kernel_size, bn_chan, hid_chan, skip_chan, n_blocks,
            n_repeats, norm_type and mask_act, and where they are not asteroid's defaults stride,
            conv_kernel_size, causal, encoder_activation and sample_rate.

    Raises:
        ImportError: `checkpoint` is a file and PyTorch is not installed.
        ValueError: The file cannot be read, is of another model, has an option that is not
            supported, or its tensors do not fit its arguments; or `model_args` is missing, or
            given to a checkpoint that has its own.
    """
    conf = checkpoint if isinstance(checkpoint, dict) else read_checkpoint(checkpoint)
    if model_args is not None:
        conf = _with_arguments(conf, model_args)
    elif _ENCODER in conf:
        raise ValueError(
            "checkpoint is a state_dict alone, which does not tell a model's options; give "
            "from_asteroid its model_args too, such as n_src"
        )
    missing = {"model_name", "model_args", "state_dict"} - conf.keys()
    if missing:
        raise ValueError(
            "checkpoint must be of an asteroid model, with model_name, model_args and "
            f"state_dict; it has no {', '.join(sorted(missing))}"
        )
    if conf["model_name"] != "ConvTasNet":
        raise ValueError(f"checkpoint must be of a ConvTasNet, got {conf['model_name']}")
    args = {"stride": 8, "causal": False, "conv_kernel_size": 3, **conf["model_args"]}
    missing = {*_ARGUMENTS, *_OTHER_ARGUMENTS} - args.keys()
    if missing:
        raise ValueError(f"checkpoint has no {', '.join(sorted(missing))} among its model_args")
    _check_supported(args)
    if args["causal"] and args["norm_type"] not in _CAUSAL_NORMALIZATIONS:
        args["norm_type"] = "cLN"  # As asteroid does.
    model = ConvTasNet(
        **{ours: args[theirs] for theirs, ours in _ARGUMENTS.items()},
        sample_rate=round(args.get("sample_rate") or 8000),
        skip_dim=args["skip_chan"] or None,
        normalization=_NORMALIZATIONS[args["norm_type"]],
        mask_activation=_MASK_ACTIVATIONS[args["mask_act"]],
        encoder_activation=_ENCODER_ACTIVATIONS[args.get("encoder_activation")],
        padding="valid",
    )
    model.build((None, None))
    state = {name: np.asarray(tensor) for name, tensor in conf["state_dict"].items()}
    set_tensors(model, _names(model), state, _unused(model))
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
        ValueError: asteroid has no such activation or causal normalization, and the message names
            the argument; or `model` is of another kind or not built.
    """
    check_model(model)
    norm_type = _theirs(model, "normalization", _NORMALIZATIONS)
    if model.causal and norm_type not in _CAUSAL_NORMALIZATIONS:
        raise ValueError(
            f"asteroid has no causal ConvTasNet with normalization={model.normalization!r}; "
            "it takes 'layer' or 'cumulative'"
        )
    checkpoint = {
        "model_name": "ConvTasNet",
        "model_args": {
            **{theirs: getattr(model, ours) for theirs, ours in _ARGUMENTS.items()},
            "fb_name": "free",
            "sample_rate": float(model.sample_rate),
            "skip_chan": model.skip_dim or 0,
            "norm_type": norm_type,
            "mask_act": _theirs(model, "mask_activation", _MASK_ACTIVATIONS),
            "encoder_activation": _theirs(model, "encoder_activation", _ENCODER_ACTIVATIONS),
        },
        "state_dict": {**to_tensors(model, _names(model)), **_unused(model)},
    }
    if path is not None:
        write_checkpoint(checkpoint, path)
    return checkpoint


def _with_arguments(state, model_args):
    if "model_args" in state:
        raise ValueError("model_args are for a state_dict alone; this checkpoint has its own")
    known = {*_ARGUMENTS, *_OTHER_ARGUMENTS, *_OPTIONAL_ARGUMENTS}
    unknown = [name for name in model_args if name not in known]
    if unknown:
        raise ValueError(
            f"model_args has {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    return {"model_name": "ConvTasNet", "model_args": model_args, "state_dict": state}


def _theirs(model, argument, ours_by_theirs):
    """What asteroid calls the value of a model's argument."""
    theirs = {ours: name for name, ours in ours_by_theirs.items()}
    # Keras has two names for it.
    value = "silu" if getattr(model, argument) == "swish" else getattr(model, argument)
    if value not in theirs:
        raise ValueError(
            f"asteroid has no ConvTasNet with {argument}={value!r}; "
            f"it takes {', '.join(map(repr, theirs))}"
        )
    return theirs[value]


def _names(model):
    return Names(
        encoder=_ENCODER,
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
        "encoder_activation": tuple(_ENCODER_ACTIVATIONS),
    }
    for name, allowed in supported.items():
        if name in args and args[name] not in allowed:
            reason = f" ({_REASONS[args[name]]})" if args[name] in _REASONS else ""
            raise ValueError(
                f"checkpoint has {name}={args[name]!r}, which is not supported{reason}; "
                f"supported are {', '.join(map(repr, allowed))}"
            )
