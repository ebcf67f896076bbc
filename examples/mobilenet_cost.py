"""What a depthwise-separable convolution saves: parameters, multiply-adds and measured time.

    python examples/mobilenet_cost.py [--out mobilenet_cost.png]

A full convolution of D_K × D_K taps from N to N channels beside the depthwise one of as many taps
and the 1×1 convolution that replace it. In theory the second costs 1/N + 1/D_K² of the first
(Howard et al. 2017, arXiv 1704.04861, section 3.1). Prints a table and draws a PNG.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from keras_sep.layers import DepthwiseConv2D
from keras_sep.layers.convolutions import Conv2D
from keras_sep.models import multiply_adds


def compare(filters: int, kernel_size: int, size: int, repeats: int) -> dict:
    """Parameters, multiply-adds and median seconds of both, on 8 images of size²."""
    inputs = keras.Input((size, size, filters))
    full = Conv2D(filters, kernel_size, padding="same", use_bias=False)
    depthwise = DepthwiseConv2D(kernel_size, padding="same", use_bias=False)
    pointwise = Conv2D(filters, 1, use_bias=False)
    models = {
        "full": keras.Model(inputs, full(inputs)),
        "separable": keras.Model(inputs, pointwise(depthwise(inputs))),
    }
    images = np.random.default_rng(0).normal(size=(8, size, size, filters)).astype("float32")
    row = {"filters": filters, "kernel_size": kernel_size}
    seconds = {name: [] for name in models}
    for model in models.values():
        model.predict_on_batch(images)
    for _ in range(repeats):
        for name, model in models.items():
            start = time.perf_counter()
            model.predict_on_batch(images)
            seconds[name].append(time.perf_counter() - start)
    for name, model in models.items():
        row[name] = {
            "parameters": model.count_params(),
            "multiply_adds": multiply_adds(model, (size, size, filters)),
            "seconds": float(np.median(seconds[name])),
        }
    return row


def ratio(row: dict, quantity: str) -> float:
    return row["separable"][quantity] / row["full"][quantity]


def theory(row: dict) -> float:
    return 1 / row["filters"] + 1 / row["kernel_size"] ** 2


def print_table(rows: list[dict]) -> None:
    table = Table(
        *("N", "D_K", "parameters", "M mult-adds", "ms", "theory", "measured"),
        title="Full → separable convolution; theory is 1/N + 1/D_K²",
        box=box.SIMPLE,
    )
    for row in rows:
        full, separable = row["full"], row["separable"]
        table.add_row(
            str(row["filters"]),
            str(row["kernel_size"]),
            f"{full['parameters']:,} → {separable['parameters']:,}",
            f"{full['multiply_adds'] / 1e6:,.1f} → {separable['multiply_adds'] / 1e6:,.1f}",
            f"{1000 * full['seconds']:.1f} → {1000 * separable['seconds']:.1f}",
            f"{theory(row):.3f}",
            f"{ratio(row, 'seconds'):.3f}",
        )
    Console().print(table)


def draw(rows: list[dict], path: Path) -> None:
    """Ratios over N, one colour per kernel; in theory and measured."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for index, kernel_size in enumerate(sorted({row["kernel_size"] for row in rows})):
        chosen = [row for row in rows if row["kernel_size"] == kernel_size]
        filters, color = [row["filters"] for row in chosen], f"C{index}"
        label = f"{kernel_size} × {kernel_size}"
        axis.plot(
            filters, [theory(row) for row in chosen], "--", color=color, label=f"{label}, theory"
        )
        times = [ratio(row, "seconds") for row in chosen]
        axis.plot(filters, times, "o-", color=color, label=f"{label}, measured")
    axis.set(xscale="log", yscale="log", xlabel="channels N", ylabel="separable / full")
    axis.set_title(f"Cost of a separable convolution ({keras.backend.backend()})")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    figure.savefig(path, dpi=110)


def main(out: Path, channels: list[int], size: int, repeats: int) -> list[dict]:
    rows = [compare(n, taps, size, repeats) for taps in (3, 5) for n in channels]
    print_table(rows)
    draw(rows, out)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("mobilenet_cost.png"))
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--size", type=int, default=28, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=9)
    main(**vars(parser.parse_args()))
