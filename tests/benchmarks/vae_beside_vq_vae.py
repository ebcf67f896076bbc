"""A VAE beside a VQ-VAE and a VQ-VAE-2 of the same widths, on photographs, for equal steps.

    python tests/benchmarks/vae_beside_vq_vae.py photographs [--steps 1000]

`photographs` is what examples/data/fetch_photographs.py makes. All see the same crops in the same
order. Prints test MSE (pixels in -1 to 1; the VAE's of latents drawn, not of their means) and bits
a pixel: of the VQ-VAEs those of codes of equal length, of the VAE the divergence of its latents
from the prior. A `kl_weight` of β is a decoder of variance β / 2. Writes JSON.
"""

import argparse
import json
import math
from pathlib import Path

import keras
from rich.console import Console
from rich.table import Table

from keras_sep.data import ImageCrops
from keras_sep.models import VAE, VQVAE, VQVAE2

BATCH, SIZE, CODES, DIM, WIDTH, BLOCKS = 32, 64, 512, 64, 64, 2
TEST_BATCHES = 64


def contenders(kl_weights: list[float]) -> dict:
    widths = DIM, WIDTH, WIDTH // 2, BLOCKS
    codebook = {"init": "kmeans", "restart_threshold": 0.5}
    vaes = {
        f"VAE, β {weight:g}": lambda weight=weight: VAE(*widths, kl_weight=weight)
        for weight in kl_weights
    }
    return vaes | {
        "VQ-VAE": lambda: VQVAE(CODES, *widths, **codebook),
        "VQ-VAE-2": lambda: VQVAE2(CODES, *widths, **codebook),
    }


def measure(create, training, test, learning_rate: float) -> dict:
    keras.utils.set_random_seed(0)
    model = create()
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "mse",
        jit_compile=keras.backend.backend() != "torch",
    )
    training.epoch = 0
    model.fit(training, verbose=1)
    logs = model.evaluate(test, verbose=0, return_dict=True)
    if isinstance(model, VAE):
        bits = logs["kl_loss"] / model.kl_weight * model.channels / math.log(2)
    else:
        bits = 8 * model.channels / model.compression_ratio((SIZE, SIZE))
    return {"mse": logs["reconstruction_loss"], "bits_per_pixel": bits}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--kl-weights", type=float, nargs="+", default=[1.0, 0.01])
    parser.add_argument("--json", type=Path, default=Path("out/vae_beside_vq_vae.json"))
    options = parser.parse_args()
    training = ImageCrops(options.photographs / "train", SIZE, BATCH, options.steps)
    test = ImageCrops(options.photographs / "test", SIZE, BATCH, TEST_BATCHES, fixed=True)
    results = {}
    for name, create in contenders(options.kl_weights).items():
        print(name)
        results[name] = measure(create, training, test, options.learning_rate)
    table = Table("", "test MSE", "bits a pixel")
    for name, row in results.items():
        table.add_row(name, f"{row['mse']:.5f}", f"{row['bits_per_pixel']:.2f}")
    Console(width=80).print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
