"""Speed of the vector quantizer: a training step, and the lookup alone, beside lucidrains'.

    python tests/benchmarks/vector_quantizer_speed.py [--rounds 15]

32 × 32×32 vectors of 64 dimensions, 512 codes, EMA decay 0.99. A step is forward, backward and the
update of the codebook, for both with the gradient passing straight through; `--rotation-trick` has
it rotated, lucidrains' default. One process a row; they take turns in every round, with a call of
each kind to warm up and three to measure, so that what else the machine does meets all alike.
Prints medians in milliseconds, how many times faster a step is than lucidrains' (eager, compiled)
and how many times the product and argmin of the same backend a lookup takes; writes JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

SHAPE, CODES = (32, 32, 32, 64), 512
MODES = {
    "TensorFlow XLA": ("tensorflow", "jit"),
    "TensorFlow graph": ("tensorflow", "graph"),
    "JAX": ("jax", "jit"),
    "PyTorch": ("torch", "eager"),
    "lucidrains eager": ("torch", "lucidrains"),
    "lucidrains compiled": ("torch", "lucidrains compiled"),
}


def lucidrains_calls(compiled: bool, rotation_trick: bool) -> dict:
    import torch
    from vector_quantize_pytorch import VectorQuantize

    theirs = VectorQuantize(
        SHAPE[-1], CODES, decay=0.99, commitment_weight=0.25, rotation_trick=rotation_trick
    )
    module = torch.compile(theirs) if compiled else theirs
    x = torch.randn(SHAPE[0], SHAPE[1] * SHAPE[2], SHAPE[3], requires_grad=True)

    def step():
        x.grad = None
        outputs, _, loss = module(x)
        (outputs.sum() + loss).backward()

    return {"step": step}


def calls(mode: str, rotation_trick: bool) -> dict:
    """A step, a lookup, and its product and argmin by themselves, as functions to time."""
    if mode.startswith("lucidrains"):
        return lucidrains_calls(mode.endswith("compiled"), rotation_trick)
    import keras
    import numpy as np
    from keras import ops

    from keras_sep.layers import VectorQuantizer
    from keras_sep.layers.codebook_search import nearest_codes

    layer = VectorQuantizer(CODES, SHAPE[-1], rotation_trick=rotation_trick)
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
        "step": lambda: wait(step(x)),
        "lookup": lambda: wait(lookup(flat, codes)),
        "product and argmin": lambda: wait(product(flat, codes)),
    }


def serve(mode: str, rotation_trick: bool):
    """Times three calls of each kind, after one to warm up, whenever a line comes in."""
    functions = calls(mode, rotation_trick)
    for function in functions.values():
        function()
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        seconds = {}
        for name, function in functions.items():
            function()
            seconds[name] = []
            for _ in range(3):
                start = time.perf_counter()
                function()
                seconds[name].append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


def answer(child) -> dict:
    """The next dictionary that it prints; libraries may print other things before."""
    for line in child.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(f"{' '.join(child.args)} failed")


def measure(rounds: int, rotation_trick: bool, status) -> dict:
    """Median seconds by row."""
    children, times = {}, {}
    try:
        for label, (backend, mode) in MODES.items():
            status.update(f"{label} starts")
            options = ["--rotation-trick"] if rotation_trick else []
            children[label] = subprocess.Popen(
                [sys.executable, __file__, "--child", mode, *options],
                env={**os.environ, "KERAS_BACKEND": backend},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            answer(children[label])
            times[label] = []
        for index in range(rounds):
            status.update(f"round {index + 1} of {rounds}")
            for label, child in children.items():
                time.sleep(0.3)  # until the threads of the one before have stopped spinning
                print(file=child.stdin, flush=True)
                times[label].append(answer(child))
    finally:
        for child in children.values():
            child.kill()
    return {
        label: {
            name: statistics.median(seconds for row in rows for seconds in row[name])
            for name in rows[0]
        }
        for label, rows in times.items()
    }


def print_table(results: dict) -> None:
    table = Table("", "step, ms", "× eager", "× compiled", "lookup, ms", "× product")
    eager, compiled = (results[f"lucidrains {how}"]["step"] for how in ("eager", "compiled"))
    for label, seconds in results.items():
        step, cells = seconds["step"], []
        if "lookup" in seconds:
            ratio = seconds["lookup"] / seconds["product and argmin"]
            cells = [f"{1000 * seconds['lookup']:.1f}", f"{ratio:.2f}"]
        ratios = f"{eager / step:.1f}", f"{compiled / step:.1f}"
        table.add_row(label, f"{1000 * step:.1f}", *ratios, *cells)
    Console(width=80).print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rotation-trick", action="store_true", help="in all rows")
    parser.add_argument("--json", type=Path, default=Path("out/vector_quantizer_speed.json"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(arguments.child, arguments.rotation_trick)
        return
    with Console(stderr=True).status("") as status:
        results = measure(arguments.rounds, arguments.rotation_trick, status)
    print_table(results)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
