"""Forms of the 2-D depthwise convolution beside `keras.layers.DepthwiseConv2D`, on each backend.

    python tests/benchmarks/depthwise_conv_2d.py [--backends tensorflow jax torch] [--size 56]

Milliseconds forward, and forward with the gradients by input and kernel, for kernels 3 and 5,
strides 1 and 2, dilations 1 and 2, "same" padding. The form that the layer takes is marked; the
ratio is Keras's time to its. The contenders run by turns. Prints a table, writes JSON.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODES = {
    "tensorflow": {"tensorflow, graph": False, "tensorflow, XLA": True},
    "jax": {"jax": True},
    "torch": {"torch": False},
}
SETTINGS = list(itertools.product((3, 5), (1, 2), (1, 2)))


def measure(size: int, channels: int, batch_size: int, repeats: int) -> list[dict]:
    """One row per mode and setting: medians in ms by contender and task, and the form taken."""
    import keras
    import numpy as np

    from keras_sep.layers import backend_forms

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(batch_size, size, size, channels)).astype("float32")
    rows = []
    for (mode, jit), (taps, strides, dilation) in itertools.product(
        MODES[keras.backend.backend()].items(), SETTINGS
    ):
        layer = keras.layers.DepthwiseConv2D(
            taps, strides, "same", dilation_rate=dilation, use_bias=False
        )
        layer.build(inputs.shape)
        kernel = rng.normal(size=(taps, taps, channels)).astype("float32")
        taken = set()

        def ours(x, k, form, strides=strides, dilation=dilation, taken=taken):
            taken.add("shifted" if backend_forms._compiler_fuses() else "native")
            return form(x, k, strides, dilation, "same")

        def theirs(x, k, layer=layer):
            outputs, _ = layer.stateless_call([k[..., None]], [], x)
            return outputs

        contenders = {
            "keras": theirs,
            "shifted": lambda x, k, ours=ours: ours(x, k, backend_forms.shifted_2d),
            "native": lambda x, k, ours=ours: ours(x, k, backend_forms.native_2d),
        }
        calls = {
            (name, task): make(function, inputs, kernel, jit)
            for name, function in contenders.items()
            for task, make in {"forward": _forward, "step": _step}.items()
        }
        times = {key: [] for key in calls}
        for repeat in range(repeats + 1):
            for key, call in calls.items():
                start = time.perf_counter()
                call()
                if repeat:
                    times[key].append(1000 * (time.perf_counter() - start))
        medians = {f"{name} {task}": statistics.median(t) for (name, task), t in times.items()}
        setting = {"kernel": taps, "strides": strides, "dilation": dilation}
        rows.append({"mode": mode, **setting, "taken": taken.pop(), **medians})
    return rows


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
        return lambda: compiled(*arrays)
    import torch

    def call():
        with torch.no_grad():
            function(*arrays)

    return call


def _step(function, inputs, kernel, jit):
    """A call that computes the gradients of the sum of the outputs, and waits."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        tensors = [torch.from_numpy(x).requires_grad_() for x in (inputs, kernel)]
        return lambda: torch.autograd.grad(function(*tensors).sum(), tensors)
    if backend == "jax":
        import jax

        gradient = jax.grad(lambda *x: function(*x).sum(), argnums=(0, 1))
        return _forward(gradient, inputs, kernel, jit)
    import tensorflow as tf

    def gradient(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = tf.reduce_sum(function(*tensors))
        return tape.gradient(total, tensors)

    return _forward(gradient, inputs, kernel, jit)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("out/depthwise_conv_2d.json"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        sizes = (arguments.size, arguments.channels, arguments.batch_size)
        print(json.dumps(measure(*sizes, arguments.repeats)))
        return

    from rich.console import Console
    from rich.table import Table

    rows = []
    console = Console()
    for backend in arguments.backends:
        with console.status(f"measuring {backend}"):
            child = subprocess.run(
                [sys.executable, __file__, "--child", *sys.argv[1:]],
                env={**os.environ, "KERAS_BACKEND": backend},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
        rows += json.loads(child.stdout.splitlines()[-1])
    table = Table("mode", "k s d")
    for task in ("forward", "step"):
        for column in ("keras", "shifted", "native", "ratio"):
            table.add_column(f"{task} {column}", justify="right")
    for row in rows:
        cells = [row["mode"], f"{row['kernel']} {row['strides']} {row['dilation']}"]
        for task in ("forward", "step"):
            for name in ("keras", "shifted", "native"):
                mark = "*" if name == row["taken"] else ""
                cells.append(f"{row[f'{name} {task}']:.1f}{mark}")
            taken = row[f"{row['taken']} {task}"]
            cells.append(f"{row[f'keras {task}'] / taken:.2f}")
        table.add_row(*cells)
    console.print(table)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
