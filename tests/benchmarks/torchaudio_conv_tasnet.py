"""torchaudio's Conv-TasNet, for comparison.

Its file is taken from the wheel, which pip downloads to `out/` once: torchaudio's compiled part
does not load beside every PyTorch.
"""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

# It has as many skip channels as bottleneck channels.
THEIR_NAMES = {
    "filters": "enc_num_feats",
    "kernel_size": "enc_kernel_size",
    "bottleneck_dim": "msk_num_feats",
    "hidden_dim": "msk_num_hidden_feats",
    "num_blocks": "msk_num_layers",
    "num_repeats": "msk_num_stacks",
}


def torchaudio_file(folder=Path("out/torchaudio")) -> Path:
    """Its model's source, which imports nothing but torch."""
    path = folder / "torchaudio/models/conv_tasnet.py"
    if not path.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "torchaudio"]
        subprocess.run([*pip, "--dest", folder], check=True)
        with zipfile.ZipFile(next(folder.glob("torchaudio-*.whl"))) as wheel:
            wheel.extract("torchaudio/models/conv_tasnet.py", folder)
    return path


def torchaudio_model(sizes: dict):
    """Its ConvTasNet with the sizes by our names, or the defaults of the same."""
    import torch

    spec = importlib.util.spec_from_file_location("conv_tasnet", torchaudio_file())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    return module.ConvTasNet(
        **{THEIR_NAMES[name]: size for name, size in sizes.items() if name in THEIR_NAMES}
    )


def si_snr(estimates, sources):
    estimates = estimates - estimates.mean(-1, keepdim=True)
    sources = sources - sources.mean(-1, keepdim=True)
    scale = (estimates * sources).sum(-1, keepdim=True) / sources.square().sum(-1, keepdim=True)
    target = scale * sources
    noise = (estimates - target).square().sum(-1)
    return 10 * (target.square().sum(-1) / noise).log10()
