"""Make the fixtures of this folder with asteroid and torchaudio themselves.

They do not install beside this package, so in an environment of their own:

    python -m venv peers
    peers/bin/pip install torch==2.13.0 asteroid requests 'setuptools<81'
    peers/bin/python tests/convert/make_fixtures.py

asteroid imports torchaudio without needing it for Conv-TasNet; a mock stands in. torchaudio's
`models/conv_tasnet.py` runs alone, taken from its wheel.
"""

import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch

FIXTURES = Path(__file__).parent / "fixtures"
LENGTHS = (1, 15, 16, 17, 31_999, 32_000)
SMALL = {
    "n_filters": 12,
    "bn_chan": 6,
    "hid_chan": 8,
    "skip_chan": 5,
    "n_blocks": 3,
    "n_repeats": 2,
}
# Where only the activations matter.
TINY = {"norm_type": "gLN", "n_blocks": 1, "n_repeats": 1}

ASTEROID = {
    "global": {"norm_type": "gLN", "mask_act": "sigmoid"},
    "no_skip": {"norm_type": "gLN", "mask_act": "relu", "skip_chan": 0},
    "frame_causal": {"norm_type": "cLN", "mask_act": "relu", "causal": True},
    "cumulative_causal": {"norm_type": "cgLN", "mask_act": "softmax", "causal": True, "n_src": 3},
    "batch": {"norm_type": "bN", "mask_act": "sigmoid", "kernel_size": 12, "stride": 4},
    "encoder_relu": {
        "norm_type": "gLN",
        "mask_act": "linear",
        "encoder_activation": "relu",
        "sample_rate": 16000,
    },
    "wide": {
        "norm_type": "gLN",
        "mask_act": "tanh",
        "kernel_size": 15,
        "stride": 5,
        "conv_kernel_size": 5,
    },
    "cumulative": {"norm_type": "cgLN", "mask_act": "swish", "n_src": 1, "causal": False},
    "frame_no_skip": {"norm_type": "cLN", "mask_act": "gelu", "skip_chan": 0, "causal": True},
    "leaky_relu": {**TINY, "mask_act": "leaky_relu", "encoder_activation": "leaky_relu"},
    **{
        f"encoder_{name}": {**TINY, "mask_act": "sigmoid", "encoder_activation": name}
        for name in ("sigmoid", "tanh", "gelu", "swish")
    },
}
TORCHAUDIO = {
    "sigmoid": {"msk_activate": "sigmoid"},
    "relu": {"msk_activate": "relu", "num_sources": 3},
    "long_kernel": {"msk_activate": "sigmoid", "enc_kernel_size": 20},
}


def mixture(length):
    """A chirp and a tone, the same on every machine."""
    n = np.arange(length, dtype="float64")
    return (0.4 * np.sin(0.05 * n + 3e-5 * n**2) + 0.3 * np.cos(0.21 * n)).astype("float32")


def positions(length):
    """The samples that are kept: both ends, and some between."""
    ends = np.r_[0 : min(length, 40), max(length - 40, 0) : length]
    return np.unique(np.r_[ends, 0:length:1999])


def randomize(model, seed):
    """Other weights than at the start, where many are zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor += 0.2 * noise if "running_var" in name else 0.4 * (noise - 0.5)
    return model.eval()


def outputs(run):
    values = {}
    for length in LENGTHS:
        try:
            with torch.no_grad():
                sources = run(torch.from_numpy(mixture(length))[None])
        except RuntimeError:  # shorter than the kernel of a model without padding
            continue
        values[str(length)] = sources[0].numpy()[:, positions(length)]
    assert values
    return values


def make_asteroid():
    for name in ("torchaudio", "torchaudio.functional", "torchaudio.transforms"):
        sys.modules[name] = mock.MagicMock(__spec__=mock.MagicMock())
    from asteroid.models import ConvTasNet

    for seed, (name, arguments) in enumerate(ASTEROID.items()):
        sizes = {"n_src": 2, "kernel_size": 16, "stride": 8, "sample_rate": 8000, **SMALL}
        model = randomize(ConvTasNet(**{**sizes, **arguments}), seed)
        torch.save(model.serialize(), FIXTURES / f"asteroid_{name}.pth")
        np.savez_compressed(FIXTURES / f"asteroid_{name}.npz", **outputs(model))


def make_torchaudio():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "torchaudio", "--no-deps", "-d", folder]
        subprocess.run(command, check=True)
        [wheel] = Path(folder).glob("*.whl")
        source = zipfile.ZipFile(wheel).read("torchaudio/models/conv_tasnet.py")
    module = types.ModuleType("conv_tasnet")
    exec(compile(source, "conv_tasnet.py", "exec"), module.__dict__)
    for seed, (name, arguments) in enumerate(TORCHAUDIO.items()):
        sizes = {
            "enc_num_feats": 12,
            "msk_num_feats": 6,
            "msk_num_hidden_feats": 8,
            "msk_num_layers": 3,
            "msk_num_stacks": 2,
        }
        model = randomize(module.ConvTasNet(**{**sizes, **arguments}), 100 + seed)
        torch.save(model.state_dict(), FIXTURES / f"torchaudio_{name}.pt")
        values = outputs(lambda waveform, model=model: model(waveform[:, None]))
        np.savez_compressed(FIXTURES / f"torchaudio_{name}.npz", **values)


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    make_asteroid()
    make_torchaudio()
