"""Speed of the vector quantizer: a training step, and the lookup alone, beside lucidrains'.

    python tests/benchmarks/vector_quantizer_speed.py

32 × 32×32 vectors of 64 dimensions, 512 codes, EMA decay 0.99. A step is forward, backward and the
update of the codebook; each time is the best of several, as other programs may run too. One process
a row, one after the other; prints seconds and how many times faster than lucidrains' a step is, and
how many times its product and argmin a lookup takes; writes JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

SHAPE, CODES = (32, 32, 32, 64), 512
MODES = {
    "tensorflow, XLA": ("tensorflow", "jit"),
    "tensorflow, graph": ("tensorflow", "graph"),
    "jax": ("jax", "jit"),
    "torch": ("torch", "eager"),
    "lucidrains, eager": ("torch", "lucidrains"),
    "lucidrains, torch.compile": ("torch", "lucidrains compiled"),
}


def best_seconds(function, repeats: int) -> float:
    durations = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return min(durations[2:])


def measure_lucidrains(compiled: bool, repeats: int) -> dict:
    import torch
    from vector_quantize_pytorch import VectorQuantize

    theirs = VectorQuantize(
        SHAPE[-1], CODES, decay=0.99, commitment_weight=0.25, rotation_trick=False
    )
    module = torch.compile(theirs) if compiled else theirs
    x = torch.randn(SHAPE[0], SHAPE[1] * SHAPE[2], SHAPE[3], requires_grad=True)

    def step():
        x.grad = None
        outputs, _, loss = module(x)
        (outputs.sum() + loss).backward()

    return {"step": best_seconds(step, repeats)}


def measure(mode: str, repeats: int) -> dict:
    """Seconds of a step, of the lookup, and of its product and argmin by themselves."""
    if mode.startswith("lucidrains"):
        return measure_lucidrains(mode.endswith("compiled"), repeats)
    import keras
    import numpy as np
    from keras import ops

    from keras_sep.layers import VectorQuantizer
    from keras_sep.layers.codebook_search import nearest_codes

    layer = VectorQuantizer(CODES, SHAPE[-1])
    layer.build(SHAPE)
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=SHAPE).astype("float32"))
    flat, codes = ops.reshape(x, (-1, SHAPE[-1])), ops.convert_to_tensor(layer.codebook)

    def objective(x):
        vectors, _, codebook_loss, commitment_loss = layer.quantization(x, training=True)
        return ops.sum(vectors) + ops.mean(codebook_loss + commitment_loss)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def gradient(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = objective(x)
            return tape.gradient(value, x)

        def compiled(function):
            return tf.function(function, jit_compile=mode == "jit")

        def bare(flat, codes):
            scores = tf.matmul(flat, -2 * codes, transpose_b=True)
            return tf.argmin(scores + tf.reduce_sum(codes**2, -1), -1)

        step, wait = compiled(gradient), lambda value: value.numpy()
    elif backend == "jax":
        import jax

        def stateless(state, x):
            mapping = list(zip(layer.non_trainable_variables, state, strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                value = objective(x)
            variables = layer.non_trainable_variables
            return value, [scope.get_current_value(variable) for variable in variables]

        update = jax.jit(jax.grad(stateless, argnums=1, has_aux=True))
        state = [variable.value for variable in layer.non_trainable_variables]

        def step(x):
            nonlocal state
            gradient, state = update(state, x)
            return gradient, state

        def bare(flat, codes):
            return jax.numpy.argmin(flat @ (-2 * codes).T + (codes**2).sum(-1), -1)

        compiled, wait = jax.jit, jax.block_until_ready
    else:
        import torch

        def step(x):
            leaf = x.detach().requires_grad_()
            objective(leaf).backward()
            return leaf.grad

        def bare(flat, codes):
            return torch.argmin(flat @ (-2 * codes).T + (codes**2).sum(-1), -1)

        compiled, wait = (lambda function: function), lambda value: value
    lookup, product = compiled(nearest_codes), compiled(bare)
    return {
        "step": best_seconds(lambda: wait(step(x)), repeats),
        "lookup": best_seconds(lambda: wait(lookup(flat, codes)), repeats),
        "product and argmin": best_seconds(lambda: wait(product(flat, codes)), repeats),
    }


def print_table(results: dict) -> None:
    table = Table("", "step, s", "times eager", "times compiled", "lookup, s", "times the product")
    eager, compiled = (results[f"lucidrains, {how}"]["step"] for how in ("eager", "torch.compile"))
    for label, seconds in results.items():
        step, cells = seconds["step"], []
        if "lookup" in seconds:
            ratio = seconds["lookup"] / seconds["product and argmin"]
            cells = [f"{seconds['lookup']:.4f}", f"{ratio:.2f}"]
        table.add_row(label, f"{step:.4f}", f"{eager / step:.1f}", f"{compiled / step:.1f}", *cells)
    Console().print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, default=Path("out/vector_quantizer_speed.json"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.repeats)))
        return
    results = {}
    for label, (backend, mode) in MODES.items():
        command = [sys.executable, __file__, "--child", mode, "--repeats", str(arguments.repeats)]
        child = subprocess.run(
            command,
            env={**os.environ, "KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        results[label] = json.loads(child.stdout.splitlines()[-1])
        print(label, results[label], flush=True)
    print_table(results)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
