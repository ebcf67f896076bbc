"""Conv-TasNet beside torchaudio's: inference and training steps, in one run.

    python tests/benchmarks/conv_tasnet_speed.py [--tasks inference small paper] [--rounds 7]

One process a contender; they take turns in every round, with a call to warm up and one to measure,
so that what else the machine does meets all alike. A training step of the paper's configuration
takes seconds and 2 to 4 GB a process: there are half as many rounds, and with less than 20 GB of
memory available one process runs after the other. Inference: the
paper's best configuration, 4 s at 8 kHz, batch 1, as `Separator` runs a model from a file, or
compiled by XLA or torch.compile. Training: forward, SI-SNR with permutations, backward, clipping
and Adam, batches of 2 x 4 s. Tasks with "_kept" are the same with the settings of
`keras-sep train`, the allocator's in every process, torchaudio's too, and XLA's for JAX. bfloat16
is left out where the processor has none.

Prints medians and ratios, writes them with machine and versions as JSON, and draws them. What the
file holds of other tasks stays, if it is of the same machine and versions.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from speed_report import draw, earlier_results, machine, table
from torchaudio_conv_tasnet import si_snr, torchaudio_file, torchaudio_model

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
    "PyTorch": "torch",
    "PyTorch, torch.compile": "torch",
    "TensorFlow": "tensorflow",
    "TensorFlow, XLA": "tensorflow",
    "TensorFlow, SavedModel": "tensorflow",
    "TensorFlow, SavedModel of Keras": "tensorflow",
    "JAX": "jax",
}
TRAINING = {
    "torchaudio": "torch",
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "TensorFlow, XLA": "tensorflow",
    "JAX": "jax",
}
# Ratios are to torchaudio in bfloat16.
BFLOAT16 = {
    "torchaudio": "torch",
    "torchaudio, torch.compile": "torch",
    "PyTorch": "torch",
    "PyTorch, torch.compile": "torch",
    "TensorFlow": "tensorflow",
    "TensorFlow, SavedModel": "tensorflow",
    "JAX": "jax",
}
TASKS = {
    "inference": INFERENCE,
    "inference_kept": INFERENCE,
    "bfloat16": BFLOAT16,
    "products": {"PyTorch": "torch"},
    "small": TRAINING,
    "small_kept": TRAINING,
    "paper": TRAINING,
    "paper_kept": TRAINING,
}


def mixture_and_sources(batch_size):
    import numpy as np

    sources = np.random.default_rng(0).normal(size=(batch_size, 2, SAMPLES)).astype("float32")
    return sources.sum(1), sources


def torchaudio_call(contender, task, batch_size):
    """A call to measure."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = torchaudio_model(SMALL if task == "small" else {}).to(device)
    mixture, sources = (torch.from_numpy(x).to(device) for x in mixture_and_sources(batch_size))
    if task in ("inference", "bfloat16"):
        model.eval()
        forward = torch.compile(model) if "compile" in contender else model

        def separate():
            with (
                torch.inference_mode(),
                torch.autocast(device, torch.bfloat16, enabled=task == "bfloat16"),
            ):
                forward(mixture[:, None]).cpu()

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
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def keras_call(contender, task, batch_size):
    """A call to measure."""
    import keras

    import keras_sep

    dtype = "mixed_bfloat16" if task == "bfloat16" else "float32"
    model = keras_sep.models.ConvTasNet(**(SMALL if task == "small" else {}), dtype=dtype)
    model.build((None, None))
    jit_compile = contender in ("TensorFlow, XLA", "JAX")
    mixture, sources = mixture_and_sources(batch_size)
    if task in ("inference", "bfloat16"):
        with_biases(model)
        if "SavedModel" in contender:
            return saved_model_call(model, mixture, by_keras="of Keras" in contender)
        model.compile(jit_compile=jit_compile)
        if contender == "TensorFlow, XLA":
            return lambda: model.predict_on_batch(mixture)
        separate = keras_sep.export.array_function(model, contender == "PyTorch, torch.compile")
        return lambda: separate(mixture)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3, global_clipnorm=5.0),
        loss=keras_sep.losses.PermutationInvariant(keras_sep.losses.SISNR()),
        jit_compile=jit_compile,
    )
    return lambda: model.train_on_batch(mixture, sources)


def with_biases(model):
    """As trained models have them: TensorFlow's graphs leave out biases that are all zeros."""
    import numpy as np

    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if variable.name in ("bias", "beta"):
            variable.assign(0.05 * rng.normal(size=variable.shape))


def saved_model_call(model, mixture, by_keras):
    """`by_keras`: written by `model.export`, with the graph of the model's own operations."""
    import tempfile

    import tensorflow as tf

    import keras_sep

    with tempfile.TemporaryDirectory() as folder:
        if by_keras:
            signature = [tf.TensorSpec((None, None), name="mixture")]
            model.export(f"{folder}/1", input_signature=signature, verbose=False)
        else:
            keras_sep.export.export_saved_model(model, f"{folder}/1")
        loaded = tf.saved_model.load(f"{folder}/1")
    signature, tensor = loaded.signatures["serving_default"], tf.constant(mixture)

    def separate(keep=loaded):
        (sources,) = signature(mixture=tensor).values()
        return sources.numpy()

    return separate


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
    if task.endswith("_kept"):
        from keras_sep.memory import keep_freed_memory
        from keras_sep.xla_flags import without_ynnpack

        keep_freed_memory()
        without_ynnpack()
        task = task.removesuffix("_kept")
    if task == "products":
        call = products_call()
    else:
        make = torchaudio_call if contender.startswith("torchaudio") else keras_call
        call = make(contender, task, batch_size=1 if task in ("inference", "bfloat16") else 2)
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
        env={**os.environ, "KERAS_BACKEND": backend},
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
    groups = [contenders]
    if task.startswith("paper"):
        rounds = (rounds + 1) // 2
        if available_gigabytes() < 20:
            groups = [[name] for name in contenders]
    times = {}
    for group in groups:
        children = {}
        try:
            for contender in group:
                children[contender] = start(task, contender, TASKS[task][contender])
            for contender, child in children.items():
                status.update(f"{task}: {contender} starts")
                answer(child)
            status.update(f"{task}: {rounds} rounds of {', '.join(group)}")
            times |= by_turns(children, rounds)
        finally:
            for child in children.values():
                child.kill()
                child.wait()
    return {contender: statistics.median(t) for contender, t in times.items()}


def by_turns(children, rounds) -> dict:
    """Seconds of all rounds by contender."""
    times = {contender: [] for contender in children}
    for _ in range(rounds):
        for contender, child in children.items():
            time.sleep(0.3)  # until the threads of the one before have stopped spinning
            with suppress(BrokenPipeError):  # It has ended, as `answer` will say.
                print(file=child.stdin, flush=True)
            times[contender].append(answer(child))
    return times


def available_gigabytes() -> float:
    (line,) = [
        line
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable")
    ]
    return int(line.split()[1]) / 2**20


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; others take half a minute for a call."""
    return "bf16" in Path("/proc/cpuinfo").read_text()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    able = [task for task in TASKS if task != "bfloat16" or has_bfloat16()]
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=able)
    parser.add_argument("--contenders", nargs="+", choices=sorted({*INFERENCE, *TRAINING}))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("out/conv_tasnet_speed.json"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(*arguments.child)
        return

    from rich.console import Console

    try:
        torchaudio_file()
    except (subprocess.CalledProcessError, StopIteration):
        raise SystemExit(
            "torchaudio's wheel could not be downloaded; put torchaudio/models/conv_tasnet.py of "
            "it into out/torchaudio"
        ) from None
    console, conditions = Console(), machine()
    results = earlier_results(arguments.json, conditions)
    console.print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        chosen = [c for c in TASKS[task] if c in (arguments.contenders or TASKS[task])]
        if chosen:
            with console.status("") as status:
                new = measure(task, chosen, arguments.rounds, status)
            results[task] = new
            content = {"machine": conditions, "results": results}
            arguments.json.write_text(json.dumps(content, indent=2) + "\n")
            console.print(table(task, new))
            draw(results, arguments.json.with_suffix(".png"))


if __name__ == "__main__":
    main()
