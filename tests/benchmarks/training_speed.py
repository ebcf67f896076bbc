"""Training speed of Conv-TasNet, in seconds of mixture a second, on each backend.

    python tests/benchmarks/training_speed.py [--backends tensorflow jax torch]

One process a backend, one after the other; a step is forward, backward, clipping and Adam on
batches in memory. Prints a table and writes JSON. Leave the machine alone meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SETTINGS = {
    "bundled model, 8 x 2 s": (
        {
            "filters": 256,
            "kernel_size": 32,
            "bottleneck_dim": 64,
            "hidden_dim": 128,
            "skip_dim": 64,
            "num_blocks": 6,
            "num_repeats": 2,
        },
        8,
        2,
    ),
    "paper's best, 2 x 4 s": ({}, 2, 4),
}


def measure(jit_compile: bool, steps: int) -> dict:
    """Seconds of mixture a second by setting, on the running backend."""
    import keras
    import numpy as np

    import keras_sep

    speeds = {}
    for name, (arguments, batch_size, seconds) in SETTINGS.items():
        model = keras_sep.models.ConvTasNet(**arguments)
        model.compile(
            optimizer=keras.optimizers.Adam(1e-3, global_clipnorm=5.0),
            loss=keras_sep.losses.PermutationInvariant(keras_sep.losses.SISNR()),
            jit_compile=jit_compile,
        )
        sources = np.random.default_rng(0).normal(size=(batch_size, 2, seconds * 8000))
        sources = sources.astype("float32")
        mixture = sources.sum(1)
        durations = []
        for _ in range(steps + 2):
            start = time.perf_counter()
            model.train_on_batch(mixture, sources)
            durations.append(time.perf_counter() - start)
        speeds[name] = batch_size * seconds / statistics.median(durations[2:])
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax", "torch"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path, default=Path("out/training_speed.json"))
    parser.add_argument("--child", choices=["jit", "eager"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child == "jit", arguments.steps)))
        return

    from rich.console import Console
    from rich.table import Table

    results = {}
    console = Console()
    for backend in arguments.backends:
        for mode in {"tensorflow": ["jit", "eager"], "jax": ["jit"]}.get(backend, ["eager"]):
            label = backend + (", XLA" if mode == "jit" else "")
            with console.status(f"measuring {label}"):
                child = subprocess.run(
                    [sys.executable, __file__, "--child", mode, "--steps", str(arguments.steps)],
                    env={**os.environ, "KERAS_BACKEND": backend},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    check=True,
                )
            results[label] = json.loads(child.stdout.splitlines()[-1])
    table = Table("seconds of mixture a second", *SETTINGS)
    for label, speeds in results.items():
        table.add_row(label, *[f"{speeds[name]:.1f}" for name in SETTINGS])
    console.print(table)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
