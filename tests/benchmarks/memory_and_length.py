"""Memory of training and of long recordings, time by length, and what bfloat16 changes.

    python tests/benchmarks/memory_and_length.py [--parts training recordings bfloat16]

- training: the largest memory of a process during a step of the paper's best configuration, with
  batches of 4 x 4 s, less that with the runtime imported, beside torchaudio's.
- recordings: the bundled model, with the allocator's settings of the command line; seconds of
  computing a second of recording, whole up to 60 s and in chunks beyond, and by how much an hour
  raises the largest memory over that of the loaded model.
- bfloat16: SI-SNR of the bundled model's sources against those in float32.

One process a row. Prints tables and writes JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from conv_tasnet_speed import TRAINING, keras_call, torchaudio_call
from speed_report import machine

BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax", "PyTorch": "torch"}
PARTS = {"training": TRAINING, "recordings": BACKENDS, "bfloat16": BACKENDS}
LENGTHS = (1, 4, 16, 60, 600)
MIXTURES = Path(__file__).parents[2] / "examples/data/mixtures"


def training(contender) -> dict:
    """MB of a step."""
    # The imports, which the difference leaves out.
    if contender.startswith("torchaudio"):
        import torch  # noqa: F401
    else:
        import keras_sep  # noqa: F401

    before = resident("VmRSS")
    make = torchaudio_call if contender.startswith("torchaudio") else keras_call
    step = make(contender, "paper", batch_size=4)
    step()
    forget_peak()
    for _ in range(2):
        step()
    return {"MB": resident("VmHWM") - before}


def recordings(contender) -> dict:
    """Seconds of computing a second, by length, and MB of an hour."""
    import numpy as np

    from keras_sep.inference import Separator
    from keras_sep.memory import keep_freed_memory

    keep_freed_memory()
    rng = np.random.default_rng(0)
    results = {}
    separator = Separator()
    separator.separate(rng.normal(size=16 * 8000))
    before = resident("VmRSS")
    forget_peak()
    block = rng.normal(size=60 * 8000)
    for _ in separator.separate_blocks(block for _ in range(60)):
        pass
    results["MB, an hour"] = resident("VmHWM") - before
    for seconds in LENGTHS:
        separator = Separator(chunk_seconds=seconds) if seconds <= 60 else Separator()
        waveform = rng.normal(size=seconds * 8000)
        times = []
        for _ in range(2 + 60 // seconds):
            start = time.perf_counter()
            separator.separate(waveform)
            times.append((time.perf_counter() - start) / seconds)
        results[f"{seconds} s"] = min(times)
    return results


def bfloat16(contender) -> dict:
    """dB, the least over the bundled mixtures."""
    import numpy as np
    import soundfile

    import keras_sep

    mixtures = [soundfile.read(path)[0] for path in sorted(MIXTURES.glob("*/mixture.wav"))]
    exact, rough = (keras_sep.inference.Separator(dtype=dtype) for dtype in ("float32", "bfloat16"))
    si_snr = keras_sep.losses.SISNR()
    values = []
    for mixture in mixtures:
        sources, approximate = (s.separate(mixture[: 4 * 8000])[None] for s in (exact, rough))
        values.append(-float(np.max(si_snr(sources, approximate))))
    return {"dB": min(values)}


def resident(name) -> float:
    """MB by /proc: VmRSS now, VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark needs Linux")


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--contenders", nargs="+")
    parser.add_argument("--json", type=Path, default=Path("out/memory_and_length.json"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        part, contender = arguments.child
        print(json.dumps(globals()[part](contender)))
        return

    from rich.console import Console
    from rich.table import Table

    console = Console()
    results = {"machine": machine()}
    for part in arguments.parts:
        rows = results[part] = {}
        for contender, backend in PARTS[part].items():
            if contender not in (arguments.contenders or PARTS[part]):
                continue
            with console.status(f"{part}: {contender}"):
                child = subprocess.run(
                    [sys.executable, __file__, "--child", part, contender],
                    env={**os.environ, "KERAS_BACKEND": backend},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    check=True,
                )
            rows[contender] = json.loads(child.stdout.splitlines()[-1])
        columns = list(next(iter(rows.values()), {}))
        table = Table(part, *columns)
        for contender, row in rows.items():
            table.add_row(contender, *[f"{row[column]:.4g}" for column in columns])
        console.print(table)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
