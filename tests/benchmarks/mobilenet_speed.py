"""Speed of MobileNet beside `keras.applications.MobileNet`, on each backend.

    python tests/benchmarks/mobilenet_speed.py [--backends tensorflow jax torch]

Inference and training step (forward, backward, SGD) of V1, by default on images of 224². Both
networks run in one process, by turns, so that what else the machine does meets both alike. Prints a
table of medians and of ratios, Keras's time to ours, and writes JSON. Leave the machine alone
meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Whether XLA compiles.
MODES = {
    "tensorflow": {"tensorflow, graph": False, "tensorflow, XLA": True},
    "jax": {"jax": True},
    "torch": {"torch": False},
}


def measure(
    repeats: int, batch_size: int, train: bool, alpha: float, size: int, output_stride: int
) -> dict:
    """Median seconds by task, mode and network, on the running backend."""
    import keras
    import numpy as np

    from keras_sep.export import fold_batch_norm
    from keras_sep.models import MobileNet

    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch_size, size, size, 3)).astype("float32")
    classes = np.arange(batch_size)
    calls = {}
    for mode, jit_compile in MODES[keras.backend.backend()].items():
        networks = {
            "keras": keras.applications.MobileNet(
                images.shape[1:], alpha, weights=None, classifier_activation=None
            ),
            "ours": MobileNet("v1", alpha, output_stride=output_stride),
        }
        for network in networks.values():
            network.compile(
                keras.optimizers.SGD(1e-3),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                jit_compile=jit_compile,
            )
        for name, network in networks.items():
            if train:
                calls["training step", mode, name] = _bound(network.train_on_batch, images, classes)
        networks["ours, folded"] = fold_batch_norm(networks["ours"])
        networks["ours, folded"].compile(jit_compile=jit_compile)
        for name, network in networks.items():
            calls["inference", mode, name] = _bound(network.predict_on_batch, images)
    seconds = {key: [] for key in calls}
    for repeat in range(repeats + 2):
        for key, call in calls.items():
            start = time.perf_counter()
            call()
            if repeat > 1:
                seconds[key].append(time.perf_counter() - start)
    return {" / ".join(key): statistics.median(values) for key, values in seconds.items()}


def _bound(function, *arguments):
    return lambda: function(*arguments)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=1.0, help="width of both networks")
    parser.add_argument("--size", type=int, default=224, help="images are size × size")
    parser.add_argument(
        "--output-stride",
        type=int,
        default=32,
        help="image to map, of ours; Keras's is 32, so that with another the ratios say nothing",
    )
    parser.add_argument("--inference-only", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("out/mobilenet_speed.json"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        seconds = measure(
            arguments.repeats,
            arguments.batch_size,
            not arguments.inference_only,
            arguments.alpha,
            arguments.size,
            arguments.output_stride,
        )
        print(json.dumps(seconds))
        return

    from rich.console import Console
    from rich.table import Table

    results = {}
    console = Console()
    for backend in arguments.backends:
        with console.status(f"measuring {backend}"):
            child = subprocess.run(
                [sys.executable, __file__, "--child", *sys.argv[1:]],
                env={**os.environ, "KERAS_BACKEND": backend},
                capture_output=True,
                text=True,
            )
        if child.returncode:
            raise SystemExit(f"{child.stderr}\n{backend} failed, see above")
        for key, seconds in json.loads(child.stdout.splitlines()[-1]).items():
            task, mode, network = key.split(" / ")
            results.setdefault(f"{task}, {mode}", {})[network] = seconds
    table = Table(f"batch {arguments.batch_size}", "keras", "ours", "ratio", "folded", "ratio")
    for label, seconds in results.items():
        table.add_row(label, f"{seconds['keras']:.3f} s", *_columns(seconds))
    console.print(table)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def _columns(seconds):
    for name in ("ours", "ours, folded"):
        if name in seconds:
            yield f"{seconds[name]:.3f} s"
            yield f"{seconds['keras'] / seconds[name]:.2f}"


if __name__ == "__main__":
    main()
