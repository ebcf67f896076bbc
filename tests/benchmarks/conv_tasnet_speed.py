"""Conv-TasNet beside torchaudio's: inference and training steps, in one run.

    python tests/benchmarks/conv_tasnet_speed.py [--tasks inference small paper] [--rounds 7]

One process a contender; they take turns in every round, with a call to warm up and one to measure,
so that what else the machine does meets all alike. Training the paper's configuration needs some
gigabytes a process, so there one runs after the other. Inference: the paper's best configuration,
4 s at 8 kHz, batch 1. Training: forward, SI-SNR with permutations, backward, clipping and Adam,
batches of 2 x 4 s.

torchaudio's model file is taken from its wheel, which pip downloads to `out/` once: its compiled
part does not load beside every PyTorch. Prints medians and ratios, writes them with machine and
versions as JSON, and draws them. With `--contenders` the file's other results stay.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path

SAMPLES = 4 * 8000
SMALL = {
    "filters": 128,
    "kernel_size": 20,
    "bottleneck_dim": 64,
    "hidden_dim": 128,
    "skip_dim": 64,
    "num_blocks": 6,
    "num_repeats": 2,
}
INFERENCE = {
    "torchaudio": "torch",
    "torchaudio, torch.compile": "torch",
    "torchaudio, bfloat16": "torch",
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "TensorFlow, XLA": "tensorflow",
    "TensorFlow, SavedModel": "tensorflow",
    "JAX": "jax",
}
TRAINING = {
    "torchaudio": "torch",
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "TensorFlow, XLA": "tensorflow",
    "JAX": "jax",
}
TASKS = {"inference": INFERENCE, "small": TRAINING, "paper": TRAINING, "products": {"": ""}}
TITLES = {
    "inference": "inference, paper's best, 4 s",
    "small": "training step, small, 2 x 4 s",
    "paper": "training step, paper's best, 2 x 4 s",
    "products": "the products of the inference alone",
}


def mixture_and_sources(batch_size):
    import numpy as np

    sources = np.random.default_rng(0).normal(size=(batch_size, 2, SAMPLES)).astype("float32")
    return sources.sum(1), sources


def torchaudio_file(folder=Path("out/torchaudio")) -> Path:
    """Its model's source, which imports nothing but torch."""
    path = folder / "torchaudio/models/conv_tasnet.py"
    if not path.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "torchaudio"]
        subprocess.run([*pip, "--dest", folder], check=True)
        with zipfile.ZipFile(next(folder.glob("torchaudio-*.whl"))) as wheel:
            wheel.extract("torchaudio/models/conv_tasnet.py", folder)
    return path


def torchaudio_model(task):
    import torch

    spec = importlib.util.spec_from_file_location("conv_tasnet", torchaudio_file())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if task != "small":
        return module.ConvTasNet()
    torch.manual_seed(0)
    return module.ConvTasNet(
        enc_num_feats=SMALL["filters"],
        enc_kernel_size=SMALL["kernel_size"],
        msk_num_feats=SMALL["bottleneck_dim"],
        msk_num_hidden_feats=SMALL["hidden_dim"],
        msk_num_layers=SMALL["num_blocks"],
        msk_num_stacks=SMALL["num_repeats"],
    )


def torchaudio_call(contender, task):
    """A call to measure."""
    import torch

    model = torchaudio_model(task)
    mixture, sources = map(torch.from_numpy, mixture_and_sources(1 if task == "inference" else 2))
    if task == "inference":
        model.eval()
        forward = torch.compile(model) if "compile" in contender else model

        def separate():
            with torch.inference_mode(), torch.autocast("cpu", enabled="bfloat16" in contender):
                forward(mixture[:, None])

        return separate
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        estimates = model(mixture[:, None])
        as_they_are = si_snr(estimates, sources).mean(1)
        changed = si_snr(estimates, sources.flip(1)).mean(1)
        (-torch.maximum(as_they_are, changed).mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


def si_snr(estimates, sources):
    estimates = estimates - estimates.mean(-1, keepdim=True)
    sources = sources - sources.mean(-1, keepdim=True)
    scale = (estimates * sources).sum(-1, keepdim=True) / sources.square().sum(-1, keepdim=True)
    target = scale * sources
    noise = (estimates - target).square().sum(-1)
    return 10 * (target.square().sum(-1) / noise).log10()


def keras_call(contender, task):
    """A call to measure."""
    import keras

    import keras_sep

    model = keras_sep.models.ConvTasNet(**(SMALL if task == "small" else {}))
    model.build((None, None))
    jit_compile = contender in ("TensorFlow, XLA", "JAX")
    if task == "inference":
        mixture, _ = mixture_and_sources(1)
        if "SavedModel" in contender:
            return saved_model_call(model, mixture)
        model.compile(jit_compile=jit_compile)
        return lambda: model.predict_on_batch(mixture)
    mixture, sources = mixture_and_sources(2)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3, clipnorm=5.0),
        loss=keras_sep.losses.PermutationInvariant(keras_sep.losses.SISNR()),
        jit_compile=jit_compile,
    )
    return lambda: model.train_on_batch(mixture, sources)


def saved_model_call(model, mixture):
    import tempfile

    import tensorflow as tf

    import keras_sep

    folder = tempfile.mkdtemp()
    loaded = tf.saved_model.load(keras_sep.export.export_saved_model(model, f"{folder}/1"))
    signature, tensor = loaded.signatures["serving_default"], tf.constant(mixture)
    return lambda: signature(mixture=tensor)["sources"].numpy()


def products_call():
    """The matrix products of the paper's configuration, by PyTorch."""
    import torch

    frames = SAMPLES // 8 - 1
    shapes = [(512, 128), *[(128, 512), (512, 256)] * 24, (128, 1024)]
    pairs = [(torch.randn(frames, rows), torch.randn(rows, columns)) for rows, columns in shapes]

    def call():
        for x, matrix in pairs:
            torch.mm(x, matrix)

    return call


def serve(task, contender):
    """Measures a call, after one to warm up, whenever a line comes in."""
    if task == "products":
        call = products_call()
    else:
        make = torchaudio_call if contender.startswith("torchaudio") else keras_call
        call = make(contender, task)
    for _ in range(3):
        call()
    print("ready", flush=True)
    for _ in sys.stdin:
        call()
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, flush=True)


def start(task, contender, backend):
    return subprocess.Popen(
        [sys.executable, __file__, "--child", task, contender],
        env={**os.environ, "KERAS_BACKEND": backend or "torch"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def answer(child):
    """The next number that it prints; libraries may print other things before."""
    for line in child.stdout:
        try:
            return float(line)
        except ValueError:
            if line == "ready\n":
                return None
    raise SystemExit(f"{' '.join(child.args[-2:])} failed; run it by itself to see why")


def measure(task, contenders, rounds, status) -> dict:
    """Median seconds by contender."""
    groups = [[name] for name in contenders] if task == "paper" else [contenders]
    times = {}
    for group in groups:
        times |= by_turns(task, group, rounds, status)
    return {contender: statistics.median(t) for contender, t in times.items()}


def by_turns(task, contenders, rounds, status) -> dict:
    """Seconds of all rounds by contender."""
    children = {}
    try:
        for contender in contenders:
            status.update(f"{task}: {contender} starts")
            children[contender] = start(task, contender, TASKS[task][contender])
            answer(children[contender])
        times = {contender: [] for contender in children}
        for turn in range(rounds):
            for contender, child in children.items():
                status.update(f"{task}: {contender}, round {turn + 1} of {rounds}")
                time.sleep(0.3)  # until the threads of the one before have stopped spinning
                print(file=child.stdin, flush=True)
                times[contender].append(answer(child))
        return times
    finally:
        for child in children.values():
            child.kill()
            child.wait()


def machine() -> dict:
    """What the results depend on."""
    versions = {name: metadata.version(name) for name in ("keras", "tensorflow", "jax", "torch")}
    model = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {"cpu": f"{os.cpu_count()} x {model[0] if model else platform.machine()}", **versions}


def draw(results, path):
    """One panel a task, torchaudio's time over each contender's."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    results = {task: times for task, times in results.items() if "torchaudio" in times}
    if not results:
        return
    figure, panels = pyplot.subplots(
        len(results), 1, figsize=(7, 2.2 * len(results)), squeeze=False, layout="constrained"
    )
    for panel, (task, times) in zip(panels[:, 0], results.items(), strict=True):
        names = list(times)[::-1]
        bars = panel.barh(names, [times["torchaudio"] / times[name] for name in names])
        panel.bar_label(bars, [f" {times[name]:.3f} s" for name in names])
        panel.axvline(1, color="black", linewidth=1)
        panel.set(title=TITLES[task], xlabel="times as fast as torchaudio")
        panel.margins(x=0.15)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contenders", nargs="+", choices=sorted({*INFERENCE, *TRAINING}))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("out/conv_tasnet_speed.json"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(*arguments.child)
        return

    from rich.console import Console
    from rich.table import Table

    try:
        torchaudio_file()
    except (subprocess.CalledProcessError, StopIteration):
        raise SystemExit(
            "torchaudio's wheel could not be downloaded; put torchaudio/models/conv_tasnet.py of "
            "it into out/torchaudio"
        ) from None
    console, conditions = Console(), machine()
    results = json.loads(arguments.json.read_text())["seconds"] if arguments.json.exists() else {}
    if not arguments.contenders:
        results = {}
    console.print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    with console.status("") as status:
        for task in arguments.tasks:
            chosen = [c for c in TASKS[task] if c in (arguments.contenders or TASKS[task])]
            new = measure(task, chosen, arguments.rounds, status)
            results[task] = {**results.get(task, {}), **new}
    for task, times in results.items():
        table = Table(TITLES[task], "seconds", "torchaudio / this")
        for contender, seconds in times.items():
            ratio = times.get("torchaudio", float("nan")) / seconds
            table.add_row(contender, f"{seconds:.3f}", f"{ratio:.2f}")
        console.print(table)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": conditions, "seconds": results}
    arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    draw(results, arguments.json.with_suffix(".png"))


if __name__ == "__main__":
    main()
