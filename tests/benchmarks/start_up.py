"""What `keras-sep separate` takes from the shell, and where the time goes.

    python tests/benchmarks/start_up.py [--backends tensorflow jax torch] [--rounds 5]

The command with the bundled model on a recording of 10 s, as a process of its own, beside one that
imports the runtime and nothing else, by turns: TensorFlow, which is all that the bundled SavedModel
needs, or Keras with another backend. Then the same in one process by parts. Prints medians in
seconds and writes JSON.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed_report import machine

SECONDS = 10
RUNTIMES = {"tensorflow": "tensorflow", "jax": "keras", "torch": "keras"}
MIXTURE = sorted((Path(__file__).parents[2] / "examples/data/mixtures").glob("*/mixture.wav"))[0]


def parts(backend: str, recording: str) -> dict:
    """Seconds of each part, in this process."""
    times, clock = {}, time.perf_counter()

    def lap(name):
        nonlocal clock
        times[name] = time.perf_counter() - clock
        clock = time.perf_counter()

    sys.argv = ["keras-sep"]  # whose package imports no more than it must
    import keras_sep.cli  # noqa: F401
    from keras_sep.inference import Separator

    lap("the command's modules")
    importlib.import_module(RUNTIMES[backend])
    lap(f"the import of {RUNTIMES[backend]}")
    separator = Separator()
    lap("the model")
    for call in ("the first separation", "the second"):
        separator.separate_file(recording, Path(recording).parent / f"{backend}, {call}")
        lap(call)
    return times


def in_process(arguments: list[str], backend: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        arguments,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("out/start_up.json"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(parts(*arguments.child)))
        return

    import numpy as np
    import soundfile
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    console, conditions = Console(), machine()
    console.print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/recording.wav"
        mixture, rate = soundfile.read(MIXTURE)
        soundfile.write(recording, np.resize(mixture, SECONDS * rate), rate)
        command = [Path(sys.executable).parent / "keras-sep", "separate", recording]
        for backend in arguments.backends:
            runtime = [sys.executable, "-c", f"import {RUNTIMES[backend]}"]
            separate = [*command, "-o", f"{folder}/{backend}", "--overwrite"]
            times = {"a process that imports the runtime": [], "keras-sep separate": []}
            for _ in track(range(arguments.rounds), backend):
                times["a process that imports the runtime"].append(in_process(runtime, backend))
                times["keras-sep separate"].append(in_process(separate, backend))
            medians = {name: statistics.median(values) for name, values in times.items()}
            child = subprocess.run(
                [sys.executable, __file__, "--child", backend, recording],
                env={**os.environ, "KERAS_BACKEND": backend},
                capture_output=True,
                text=True,
                check=True,
            )
            results[backend] = {**medians, "parts": json.loads(child.stdout.splitlines()[-1])}
    for backend, result in results.items():
        table = Table(backend, "seconds")
        for name, seconds in {**result, **result["parts"]}.items():
            if name != "parts":
                table.add_row(name, f"{seconds:.2f}")
        console.print(table)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": conditions, "results": results}
    arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
