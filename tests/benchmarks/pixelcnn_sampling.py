"""Sampling position by position beside full forward passes; cost of a position by grid size.

    KERAS_BACKEND=tensorflow python tests/benchmarks/pixelcnn_sampling.py

A PixelCNN of 20 layers, untrained. A sample by full passes takes as many passes as there are
positions: some are timed, after one that compiles, and multiplied. Samples are the faster of two,
after one that compiles.
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

from keras_sep.layers.backend_programs import compiled
from keras_sep.models import PixelCNN


def seconds(function, repeats: int) -> float:
    """The fastest of some calls, after one."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        ops.convert_to_numpy(function())
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main(filters: int, kernel_size: int, batch: int, sizes: list[int], full: int):
    model = PixelCNN(512, filters=filters, kernel_size=kernel_size)
    print(f"{keras.backend.backend()}, {model.num_layers} layers, {filters} filters, batch {batch}")
    for size in sizes:
        sampling = seconds(lambda size=size: model.sample((size, size), batch, seed=0), 2)
        print(
            f"{size}x{size}: {sampling:.2f} s a sample, "
            f"{1e3 * sampling / size**2:.3f} ms a position",
            flush=True,
        )
        if size == full:
            codes = ops.convert_to_tensor(np.zeros((batch, size, size), "int32"))
            forward = compiled(model, lambda codes: model(codes, training=False))
            passes = seconds(lambda f=forward, c=codes: f(c), 3) * size**2
            print(
                f"{size}x{size}: {passes:.0f} s by full passes, {passes / sampling:.0f} times",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filters", type=int, default=128)
    parser.add_argument("--kernel-size", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 16, 64])
    parser.add_argument("--full", type=int, default=32, help="size to run full passes at")
    main(**vars(parser.parse_args()))
