"""Speed of the paper's causal Conv-TasNet on a stream, and memory and drift of a long stream.

    python tests/benchmarks/streaming.py [--backends tensorflow jax torch]
    python tests/benchmarks/streaming.py --hours 24

Chunks of 20 ms at 8 kHz through `StreamingSeparator`, one process a backend, beside the matrix
products of a chunk alone, by NumPy. `--hours` feeds a small model that much audio instead.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from speed_report import machine

CHUNK_SECONDS = 0.02
CHUNKS = 1500
# Samples of a chunk in the long stream.
LONG_CHUNK = 4096


def measure() -> dict:
    """Median milliseconds of a chunk, and of its matrix products alone."""
    import keras
    import numpy as np

    from keras_sep.inference import StreamingSeparator
    from keras_sep.models import ConvTasNet

    model = ConvTasNet.from_preset("paper_causal")
    separator = StreamingSeparator(model, CHUNK_SECONDS)
    chunk = round(CHUNK_SECONDS * model.sample_rate)
    mixture = 0.1 * np.random.default_rng(0).normal(size=(CHUNKS, chunk)).astype("float32")
    weights = [keras.ops.convert_to_numpy(w) for w in model.separator.trainable_variables]
    matrices = [weight for weight in weights if weight.ndim == 2 and min(weight.shape) > 1]
    inputs = [np.ones((chunk // model.strides, len(matrix)), "float32") for matrix in matrices]

    def products(_):
        for x, matrix in zip(inputs, matrices, strict=True):
            x @ matrix

    return {"a chunk": _median(separator.feed, mixture), "products": _median(products, mixture)}


def _median(function, chunks):
    durations = []
    for chunk in chunks:
        start = time.perf_counter()
        function(chunk)
        durations.append(time.perf_counter() - start)
    return 1000 * statistics.median(durations)


def feed_hours(hours: float) -> dict:
    """What `run_stream` reports of a small causal model, and how fast it was."""
    from rich.progress import track

    from keras_sep.inference import StreamingSeparator
    from keras_sep.models import ConvTasNet

    sys.path.append(str(Path(__file__).parents[1]))
    from long_stream import run_stream

    model = ConvTasNet.from_preset(
        "paper_causal", filters=8, bottleneck_dim=4, hidden_dim=8, skip_dim=4, num_blocks=2
    )
    separator = StreamingSeparator(model, LONG_CHUNK / model.sample_rate)
    start = time.perf_counter()
    report = run_stream(
        separator,
        hours * 3600,
        progress=lambda chunks: track(chunks, f"{hours:g} hours"),
        chunk_size=LONG_CHUNK,
    )
    return {**report, "times_real_time": hours * 3600 / (time.perf_counter() - start)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax", "torch"])
    parser.add_argument("--hours", type=float, help="feed this many hours instead")
    parser.add_argument("--json", type=Path, default=Path("out/streaming.json"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure()))
        return

    from rich.console import Console
    from rich.table import Table

    results = {}
    if arguments.hours:
        results = feed_hours(arguments.hours)
        Console().print_json(data=results)
    else:
        table = Table("", "ms a chunk of 20 ms", "times real time", "ms of products alone")
        for backend in arguments.backends:
            with Console(stderr=True).status(f"measuring {backend}"):
                child = subprocess.run(
                    [sys.executable, __file__, "--child"],
                    env={**os.environ, "KERAS_BACKEND": backend},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    check=True,
                )
            results[backend] = json.loads(child.stdout.splitlines()[-1])
            chunk, products = results[backend].values()
            speed = 1000 * CHUNK_SECONDS / chunk
            table.add_row(backend, f"{chunk:.1f}", f"{speed:.1f}", f"{products:.1f}")
        Console().print(table)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "results": results}
    arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
