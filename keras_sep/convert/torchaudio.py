"""Conv-TasNet of torchaudio."""

import os

import numpy as np

from keras_sep.convert.files import read_checkpoint, write_checkpoint
from keras_sep.convert.tensors import Names, check_model, set_tensors, to_tensors
from keras_sep.models import ConvTasNet

_NAMES = Names(
    encoder="encoder.weight",
    input_norm="mask_generator.input_norm",
    bottleneck="mask_generator.input_conv",
    block="mask_generator.conv_layers.{i}.conv_layers",
    depthwise="3",
    residual="res_out",
    skip="skip_out",
    mask_prelu="mask_generator.output_prelu.weight",
    mask_conv="mask_generator.output_conv",
    decoder="decoder.weight",
    norm=("weight", "bias"),
)
_BLOCK = "mask_generator.conv_layers.{i}.conv_layers.0.weight"
_EVEN = "an even number is needed, as torchaudio pads odd ones differently"


def from_torchaudio(
    checkpoint: str | os.PathLike | dict[str, np.ndarray],
    num_blocks: int = 8,
    mask_activation: str = "sigmoid",
    sample_rate: int = 8000,
) -> ConvTasNet:
    """A model with the weights of a `torchaudio.models.ConvTasNet`.

    Its outputs equal torchaudio's. Sizes are read off the weights; what they do not tell is asked
    for.

    Args:
        checkpoint: The `state_dict`, as a dictionary of arrays or a file of `torch.save`.
        num_blocks: Blocks in a stack (X), torchaudio's `msk_num_layers`.
        mask_activation: torchaudio's `msk_activate`: "sigmoid", or "relu" as in
            `conv_tasnet_base`.
        sample_rate: In Hz.

    Raises:
        ImportError: `checkpoint` is a file and PyTorch is not installed.
        ValueError: The file cannot be read, the tensors are of another model, or the number of
            blocks in them is no multiple of `num_blocks`, or the encoder's kernel has an odd number
            of samples, at whose ends torchaudio pads differently.
    """
    state = checkpoint if isinstance(checkpoint, dict) else read_checkpoint(checkpoint)
    state = {name: np.asarray(tensor) for name, tensor in state.items()}
    count = 0
    while _BLOCK.format(i=count) in state:
        count += 1
    try:
        filters, _, kernel_size = state[_NAMES.encoder].shape
        hidden_dim, bottleneck_dim, _ = state[_BLOCK.format(i=0)].shape
        skip_dim = state["mask_generator.conv_layers.0.skip_out.weight"].shape[0]
        _, _, taps = state["mask_generator.conv_layers.0.conv_layers.3.weight"].shape
        outputs = state[f"{_NAMES.mask_conv}.bias"].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(
            f"checkpoint must be the state_dict of a torchaudio ConvTasNet; what is wrong: {error}"
        ) from None
    if kernel_size % 2:
        raise ValueError(f"checkpoint has kernels of {kernel_size} samples; {_EVEN}")
    if num_blocks < 1 or count % num_blocks:
        raise ValueError(f"num_blocks must divide the {count} blocks given, got {num_blocks}")
    model = ConvTasNet(
        num_sources=outputs // filters,
        sample_rate=sample_rate,
        filters=filters,
        kernel_size=kernel_size,
        bottleneck_dim=bottleneck_dim,
        hidden_dim=hidden_dim,
        skip_dim=skip_dim,
        conv_kernel_size=taps,
        num_blocks=num_blocks,
        num_repeats=count // num_blocks,
        mask_activation=mask_activation,
    )
    model.build((None, None))
    set_tensors(model, _NAMES, state)
    return model


def to_torchaudio(
    model: ConvTasNet, path: str | os.PathLike | None = None
) -> dict[str, np.ndarray]:
    """The `state_dict` of the `torchaudio.models.ConvTasNet` that equals a model.

    Args:
        model: A built model of the kind that torchaudio has: global normalization, as many skip
            as bottleneck channels, sigmoid or ReLU masks, an even kernel and strides of half of it,
            "same" padding, not causal.
        path: Where to write it with `torch.save`, or None.

    Returns: NumPy arrays by name.

    Raises:
        ImportError: `path` is given and PyTorch is not installed.
        ValueError: torchaudio has no such model, and the message names the argument; or `model` is
            of another kind or not built.
    """
    check_model(model)
    for argument, allowed in {
        "normalization": ("global",),
        "mask_activation": ("sigmoid", "relu"),
        "strides": (model.kernel_size // 2,),
        "padding": ("same",),
        "causal": (False,),
        "encoder_activation": (None, "linear"),
        "skip_dim": (model.bottleneck_dim,),
    }.items():
        if getattr(model, argument) not in allowed:
            raise ValueError(
                f"torchaudio has no ConvTasNet with {argument}={getattr(model, argument)!r}; "
                f"it takes {' or '.join(map(repr, allowed))}"
            )
    if model.kernel_size % 2:
        raise ValueError(f"model has kernel_size={model.kernel_size}; {_EVEN}")
    state = to_tensors(model, _NAMES)
    if path is not None:
        write_checkpoint(state, path)
    return state
