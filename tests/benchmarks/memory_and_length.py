"""Memory of training and of long recordings, time by length, and what bfloat16 changes.

    python tests/benchmarks/memory_and_length.py [--parts training demand memory lengths bfloat16]

- training: the largest memory of a process during a step of the paper's best configuration, with
  batches of 4 x 4 s, less that with the runtime imported, beside torchaudio's.
- demand: the same while the C library (glibc) gives back blocks over 1 MB at once, so that what it
  keeps for later, in pieces that may not fit, does not count.
- memory: by how much separating a recording with the bundled model raises the largest memory over
  that of the loaded model, in chunks of 4 to 60 s, and for 10 minutes and an hour.
- lengths: seconds of computing a second of recording, by the bundled model and by the paper's best
  configuration, whole up to 60 s and in the default chunks beyond, the medians of turns; "spread"
  is the most by the least, less one.
- bfloat16: the least SI-SNR of the bundled model's sources against those in float32.

Recordings with the allocator's settings of the command line. One process a figure. Prints tables
and writes JSON; what the file holds of other parts stays, if it is of the same machine and
versions.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from conv_tasnet_speed import TRAINING, keras_call, torchaudio_call, with_biases
from speed_report import earlier_results, machine

BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax", "PyTorch": "torch"}
PARTS = {
    "training": TRAINING,
    "demand": TRAINING,
    "memory": BACKENDS,
    "lengths": BACKENDS,
    "bfloat16": BACKENDS,
}
# Seconds of chunks and of recordings.
RECORDINGS = ((4, 600), (16, 600), (32, 600), (60, 600), (32, 3600))
WHOLE, CHUNKED = (1, 4, 16, 60), 600
RATE = 8000
MIXTURES = Path(__file__).parents[2] / "examples/data/mixtures"


def training(contender) -> dict:
    """MB of a step."""
    # The imports, which the difference leaves out.
    if contender.startswith("torchaudio"):
        import torch  # noqa: F401
    else:
        import keras  # noqa: F401

    before = resident("VmRSS")
    make = torchaudio_call if contender.startswith("torchaudio") else keras_call
    step = make(contender, "paper", batch_size=4)
    step()
    forget_peak()
    for _ in range(2):
        step()
    return {"MB": resident("VmHWM") - before}


def demand(contender) -> dict:
    """MB of a step, in a process that `in_child` has started so."""
    return training(contender)


def memory(contender, chunk_seconds, seconds) -> dict:
    """MB over the loaded model."""
    import numpy as np

    from keras_sep.inference import Separator

    set_allocator(contender)
    separator = Separator(chunk_seconds=chunk_seconds)
    rng = np.random.default_rng(0)
    before = resident("VmRSS")
    for _ in separator.separate_blocks(rng.normal(size=RATE) for _ in range(seconds)):
        pass
    return {f"{chunk_seconds} s of {seconds}": resident("VmHWM") - before}


def lengths(contender) -> dict:
    """Seconds of computing a second, by the bundled model and by the paper's best configuration."""
    import tempfile

    from keras_sep.models import ConvTasNet

    set_allocator(contender)
    paper = ConvTasNet()
    paper.build((None, None))
    with_biases(paper)
    with tempfile.TemporaryDirectory() as folder:
        paper.save(f"{folder}/paper.keras")
        return {
            f"{name}, {seconds} s": time
            for name, model in {"bundled": None, "paper's": f"{folder}/paper.keras"}.items()
            for seconds, time in _by_length(model).items()
        }


def set_allocator(contender):
    """As `keras-sep separate` does."""
    from keras_sep.memory import keep_freed_memory

    if contender != "JAX":
        keep_freed_memory()


def _by_length(model) -> dict:
    """Seconds of computing a second, by seconds of recording.

    A turn is a chunk of the long recording, and then as many of each short one as make half as many
    seconds in all, as a machine's speed changes within minutes. Of what a chunk, and a second of
    the others, takes in each turn, the median counts.
    """
    import numpy as np

    from keras_sep.inference import Separator

    noise = np.random.default_rng(0).normal(size=CHUNKED * RATE)
    long = Separator(model)
    short = {seconds: Separator(model, chunk_seconds=seconds) for seconds in WHOLE}
    for separator in (long, *short.values()):
        separator.separate(noise[: round(separator.chunk_seconds * RATE)])
    chunks, times = [], {seconds: [] for seconds in WHOLE}
    done = 0
    start = time.perf_counter()
    for sources in long.separate_blocks([noise]):
        chunks.append(time.perf_counter() - start)
        before, done = done, done + sources.shape[-1] / RATE / 2
        for seconds, separator in short.items():
            count = int(done // seconds - before // seconds)
            start = time.perf_counter()
            for _ in range(count):
                separator.separate(noise[: seconds * RATE])
            if count:
                times[seconds].append((time.perf_counter() - start) / (count * seconds))
        start = time.perf_counter()
    del chunks[-1]  # the end of the chunk before
    times[CHUNKED] = np.array(chunks) * len(chunks) / CHUNKED
    return {seconds: float(np.median(turns)) for seconds, turns in times.items()}


def bfloat16(contender) -> dict:
    """dB, the least over the sources of the bundled mixtures."""
    import numpy as np
    import soundfile

    import keras_sep

    mixtures = [soundfile.read(path)[0] for path in sorted(MIXTURES.glob("*/mixture.wav"))]
    exact, rough = (keras_sep.inference.Separator(dtype=dtype) for dtype in ("float32", "bfloat16"))
    values = []
    for mixture in mixtures:
        sources, approximate = (s.separate(mixture[: 4 * RATE]) for s in (exact, rough))
        values += [si_snr(*pair) for pair in zip(sources, approximate, strict=True)]
    return {"dB": float(np.min(values))}


def si_snr(reference, estimate) -> float:
    """dB."""
    import numpy as np

    reference, estimate = reference - reference.mean(), estimate - estimate.mean()
    target = (estimate @ reference) / (reference @ reference) * reference
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


def resident(name) -> float:
    """MB by /proc: VmRSS now, VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark needs Linux")


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def in_child(part, contender, *numbers) -> dict:
    environment = {**os.environ, "KERAS_BACKEND": PARTS[part][contender]}
    if part == "demand":
        environment["MALLOC_MMAP_THRESHOLD_"] = "1000000"
    child = subprocess.run(
        [sys.executable, __file__, "--child", part, contender, *map(str, numbers)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if child.returncode:
        raise SystemExit(f"{part}: {contender} failed:\n{child.stderr[-2000:]}")
    return json.loads(child.stdout.splitlines()[-1])


def with_ratios(part, rows) -> dict:
    """The rows of a table, with what is compared."""
    if part in ("training", "demand") and "torchaudio" in rows:
        least = rows["torchaudio"]["MB"]
        return {name: {**row, "/ torchaudio": row["MB"] / least} for name, row in rows.items()}
    if part == "lengths":
        return {
            f"{contender}, {model}": {
                **times,
                "spread": max(times.values()) / min(times.values()) - 1,
            }
            for contender, row in rows.items()
            for model, times in _by_model(row).items()
        }
    return rows


def _by_model(row) -> dict:
    """Seconds by length, by model."""
    times = {}
    for name, value in row.items():
        model, length = name.split(", ")
        times.setdefault(model, {})[length] = value
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--contenders", nargs="+", choices=sorted({*TRAINING, *BACKENDS}))
    parser.add_argument("--json", type=Path, default=Path("out/memory_and_length.json"))
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        part, contender, *numbers = arguments.child
        print(json.dumps(globals()[part](contender, *map(int, numbers))))
        return

    from rich.console import Console
    from rich.table import Table

    console, conditions = Console(), machine()
    results = earlier_results(arguments.json, conditions)
    for part in arguments.parts:
        rows = results[part] = {}
        for contender in PARTS[part]:
            if contender not in (arguments.contenders or PARTS[part]):
                continue
            rows[contender] = {}
            for case in RECORDINGS if part == "memory" else [()]:
                with console.status(" ".join([part, contender, *map(str, case)])):
                    rows[contender] |= in_child(part, contender, *case)
        shown = with_ratios(part, rows)
        columns = list(next(iter(shown.values()), {}))
        table = Table(part, *columns)
        for contender, row in shown.items():
            table.add_row(contender, *[f"{row[column]:.4g}" for column in columns])
        console.print(table)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": conditions, "results": results}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
