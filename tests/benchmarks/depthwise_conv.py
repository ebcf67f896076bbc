"""Depthwise convolutions of ours, and the forms they choose among, beside Keras's own.

    python tests/benchmarks/depthwise_conv.py [--ranks 1 2] [--backends tensorflow jax torch]

On the GPU where the backend has one, and else on the CPU. Milliseconds forward, and of the
gradients by input and kernel, for kernels 3, 5 and 7, stride 1 with several dilations, and stride
2. "layer" is our `DepthwiseConv1D` or `DepthwiseConv2D`, "keras" that of the name in
`keras.layers`, each without padding and with "same"; the others are bare forms. The contenders run
by turns, in a random order each time, and each with a call before the measured one, which meets the
caches as it leaves them.

Prints all rows, and by backend the worst and the median of the ratios: Keras's layer by ours, and
the faster of the native and the shifted form by ours, which has a padding to look after besides.
Writes JSON, with the rows of other ranks and backends that the file holds of the same machine and
versions.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from speed_report import earlier_results, machine

MODES = {
    "tensorflow": {"tensorflow, graph": False, "tensorflow, XLA": True},
    "jax": {"jax": True},
    "torch": {"torch": False},
}
CONTENDERS = (
    "keras",
    "layer",
    "keras, same",
    "layer, same",
    "shifted",
    "fused",
    "native",
    "columns",
)
# The paper's hidden features at 4 s, and features of a MobileNet.
SHAPES = {1: (1, 3999, 512), 2: (8, 56, 56, 128)}


def contenders(rank: int, taps: int, strides: int, dilation: int, inputs) -> dict:
    """Functions of inputs and kernel by name."""
    import keras

    import keras_sep
    from keras_sep.layers import depthwise_forms

    def of_layer(module, padding):
        layer = getattr(module, f"DepthwiseConv{rank}D")(
            taps, strides=strides, padding=padding, dilation_rate=dilation, use_bias=False
        )
        layer.build(inputs.shape)

        def call(x, kernel):
            outputs, _ = layer.stateless_call([kernel[..., None]], [], x)
            return outputs

        return call

    layers = {
        "keras": of_layer(keras.layers, "valid"),
        "layer": of_layer(keras_sep.layers, "valid"),
        "keras, same": of_layer(keras.layers, "same"),
        "layer, same": of_layer(keras_sep.layers, "same"),
    }
    suffix = "" if rank == 1 else "_2d"
    forms = {
        "shifted": getattr(depthwise_forms, f"shifted{suffix}"),
        "native": depthwise_forms.native,
    }
    if keras.backend.backend() != "torch":
        forms["fused"] = getattr(depthwise_forms, f"fused{suffix}")
    elif rank == 1:
        from keras_sep.layers.convolutions_torch import columns

        forms["columns"] = columns
    more = ("valid",) if rank == 2 else ()
    return layers | {
        name: lambda x, kernel, form=form: form(x, kernel, strides, dilation, *more)
        for name, form in forms.items()
    }


def measure(rank: int, kernels: list[int], dilations: list[int], repeats: int) -> Iterator[dict]:
    """One row per mode, setting and task: medians in ms by contender."""
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=SHAPES[rank]).astype("float32")
    # Without padding an image must have room for the kernel.
    dilated = [
        (taps, 1, dilation)
        for taps, dilation in itertools.product(kernels, dilations)
        if (taps - 1) * dilation < inputs.shape[1]
    ]
    settings = [*dilated, *[(taps, 2, 1) for taps in kernels]]
    for (mode, jit), (taps, strides, dilation) in itertools.product(
        MODES[keras.backend.backend()].items(), settings
    ):
        kernel = rng.normal(size=(taps,) * rank + inputs.shape[-1:]).astype("float32")
        calls = {
            (task, name): make(function, inputs, kernel, jit)
            for name, function in contenders(rank, taps, strides, dilation, inputs).items()
            for task, make in {"forward": _forward, "gradients": _gradients}.items()
        }
        times = {key: [] for key in calls}
        for _ in range(repeats):
            for place in rng.permutation(len(calls)):
                key, call = list(calls.items())[place]
                call()
                start = time.perf_counter()
                call()
                times[key].append(1000 * (time.perf_counter() - start))
        setting = {"mode": mode, "kernel": taps, "strides": strides, "dilation": dilation}
        for task in ("forward", "gradients"):
            medians = {name: statistics.median(t) for (of, name), t in times.items() if of == task}
            yield {"rank": rank, **setting, "task": task, **medians}


def _forward(function, inputs, kernel, jit):
    """A call that computes and waits."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        arrays, compiled = (jax.device_put(inputs), jax.device_put(kernel)), jax.jit(function)
        return lambda: jax.block_until_ready(compiled(*arrays))
    arrays = [keras.ops.convert_to_tensor(x) for x in (inputs, kernel)]
    if backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(function, jit_compile=jit)
        # Copied, as a GPU goes on by itself.
        return lambda: [x.numpy() for x in tf.nest.flatten(compiled(*arrays))]
    import torch

    def call():
        with torch.no_grad():
            function(*arrays)
        _wait_for_torch()

    return call


def _gradients(function, inputs, kernel, jit):
    """A call that computes the gradients of half the outputs' squared sum, and waits."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        tensors = [keras.ops.convert_to_tensor(x).requires_grad_() for x in (inputs, kernel)]

        def call():
            torch.autograd.grad(function(*tensors).square().sum() / 2, tensors)
            _wait_for_torch()

        return call
    if backend == "jax":
        import jax

        gradient = jax.grad(lambda *x: (function(*x) ** 2).sum() / 2, argnums=(0, 1))
        return _forward(gradient, inputs, kernel, jit)
    import tensorflow as tf

    def gradient(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = tf.reduce_sum(tf.square(function(*tensors))) / 2
        return tape.gradient(total, tensors)

    return _forward(gradient, inputs, kernel, jit)


def _wait_for_torch():
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", nargs="+", type=int, choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--backends", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--kernels", nargs="+", type=int, default=[3, 5, 7])
    parser.add_argument("--dilations", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("out/depthwise_conv.json"))
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        settings = arguments.kernels, arguments.dilations, arguments.repeats
        for row in measure(arguments.child, *settings):
            print(json.dumps(row), flush=True)
        return

    from rich.console import Console
    from rich.table import Table

    console, conditions = Console(), machine()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    measured = list(itertools.product(arguments.ranks, arguments.backends))
    rows = [
        row
        for row in earlier_results(arguments.json, conditions) or []
        if (row["rank"], backend_of(row)) not in measured
    ]
    failed = []
    for rank, backend in measured:
        child = subprocess.Popen(
            [sys.executable, __file__, "--child", str(rank), *sys.argv[1:]],
            env={**os.environ, "KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with console.status(f"measuring {backend}, rank {rank}") as status:
            for line in child.stdout:
                if line.startswith("{"):
                    rows.append(json.loads(line))
                    status.update(f"measuring {backend}, rank {rank}: {len(rows)} rows")
                    content = {"machine": conditions, "results": rows}
                    arguments.json.write_text(json.dumps(content, indent=2) + "\n")
        if child.wait():
            failed.append(f"{backend}, rank {rank}")
    table = Table("rank", "mode", "k s d", "task", *CONTENDERS)
    for row in rows:
        times = [f"{row[name]:.2f}" if name in row else "" for name in CONTENDERS]
        setting = f"{row['kernel']} {row['strides']} {row['dilation']}"
        table.add_row(str(row["rank"]), row["mode"], setting, row["task"], *times)
    console.print(table)
    console.print(summary(rows))
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}; run with --child RANK to see why")


def backend_of(row):
    return row["mode"].split(",")[0]


def summary(rows):
    """Least and median ratios by rank, mode and task."""
    from rich.table import Table

    ratios = {
        "keras / layer": lambda row: row["keras"] / row["layer"],
        "the same, same": lambda row: row["keras, same"] / row["layer, same"],
        "best of native, shifted / layer": lambda row: (
            min(row["native"], row["shifted"]) / row["layer"]
        ),
    }
    table = Table("rank", "mode", "task", *ratios, title="least, median")
    groups = {}
    for row in rows:
        groups.setdefault((row["rank"], row["mode"], row["task"]), []).append(row)
    for (rank, *names), group in groups.items():
        cells = []
        for ratio in ratios.values():
            values = [ratio(row) for row in group]
            cells.append(f"{min(values):.2f}, {statistics.median(values):.2f}")
        table.add_row(str(rank), *names, *cells)
    return table


if __name__ == "__main__":
    main()
