"""What the scripts that train a classifier share: optimizer, resuming, test and its picture.

Labels are one-hot, and models give logits. See train_mobilenet.py.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from rich.progress import track

import keras_sep


def check_same_run(out: Path, config: dict) -> None:
    """Notes what a run was started with, or exits where `out` holds a run of other arguments."""
    path = out / "config.json"
    config = json.loads(json.dumps(config, default=str))
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        beside = out / "config.json.next"
        beside.write_text(json.dumps(config, indent=2) + "\n")
        os.replace(beside, path)
        return
    before = json.loads(path.read_text())
    changed = [f"{name}={before.get(name)}" for name in config if config[name] != before.get(name)]
    if changed:
        raise SystemExit(
            f"{out} holds a run with other arguments ({', '.join(changed)}); repeat them to go on, "
            "or give another folder"
        )


def compile_classifier(
    model: keras.Model,
    steps: int,
    epochs: int,
    learning_rate: float,
    warm_up: int,
    label_smoothing: float,
    jit: bool,
) -> None:
    """AdamW whose rate rises for `warm_up` of the epochs and falls along a cosine in the others.

    On TensorFlow, `jit` compiles with XLA; JAX always does, PyTorch never.
    """
    backend = keras.backend.backend()
    rise = {"warmup_target": learning_rate, "warmup_steps": warm_up * steps} if warm_up else {}
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else learning_rate, (epochs - warm_up) * steps, **rise
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.05)
    # Decay is for what multiplies features, not for offsets and normalizations.
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing),
        metrics=["accuracy"],
        jit_compile=jit if backend == "tensorflow" else backend == "jax",
    )


def fit_classifier(
    model: keras.Model, training: Iterable, validation: Iterable, epochs: int, out: Path
) -> keras.Model:
    """Fits, going on where an earlier run in `out` stopped; the best model by validation accuracy.

    `out` receives best.keras, log.csv, curves.png and the backup.
    """
    model.fit(
        training,
        validation_data=validation,
        epochs=epochs,
        callbacks=[
            keras_sep.callbacks.BestModel(out / "best.keras", "val_accuracy", "max"),
            keras_sep.callbacks.ResumableBackup(out / "backup"),
            keras.callbacks.CSVLogger(out / "log.csv", append=True),
            keras_sep.callbacks.TrainingCurves(out / "log.csv", out / "curves.png"),
        ],
    )
    return keras.saving.load_model(out / "best.keras")


def score_classifier(
    model: keras.Model, data: Iterable, class_names: list[str], out: Path
) -> float:
    """Accuracy on batches of inputs and labels; writes test.json and confusion.png to `out`."""
    counts = np.zeros((len(class_names), len(class_names)), int)
    for inputs, labels in track(data, "test"):
        # Batches of tf.data are no arrays to the other backends.
        logits = model.predict_on_batch(np.asarray(inputs))
        np.add.at(counts, (np.argmax(labels, -1), np.argmax(logits, -1)), 1)
    accuracy = float(np.trace(counts) / counts.sum())
    scores = {
        "accuracy": accuracy,
        "examples": int(counts.sum()),
        "classes": class_names,
        "confusion": counts.tolist(),
    }
    beside = out / "test.json.next"
    beside.write_text(json.dumps(scores) + "\n")
    os.replace(beside, out / "test.json")
    draw_confusion(class_names, {f"{counts.sum():,} images": counts}, out / "confusion.png")
    print(f"test accuracy {accuracy:.2%} of {counts.sum():,}")
    return accuracy


def draw_confusion(
    class_names: list[str], matrices: dict[str, np.ndarray | list[list[int]]], path: Path
) -> None:
    """A PNG of one or more matrices of counts by class and answer, shaded by share of the class.

    With the shares in per cent where there are few classes.
    """
    size = 2 + min(0.45 * len(class_names), 11.0)
    figure = Figure(figsize=(len(matrices) * size + 1, size), layout="constrained")
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axis, (title, counts) in zip(axes, matrices.items(), strict=True):
        counts = np.asarray(counts)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set(xlabel="answer", ylabel="class")
        axis.set_title(f"{title}, {np.trace(counts) / counts.sum():.2%} right")
        if len(class_names) > 40:
            continue
        axis.set_xticks(range(len(class_names)), class_names, rotation=90)
        axis.set_yticks(range(len(class_names)), class_names)
        for row, column in np.argwhere(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            style = {"ha": "center", "va": "center", "color": color, "fontsize": 7}
            axis.text(column, row, f"{100 * shares[row, column]:.0f}", **style)
    figure.colorbar(image, ax=axes, label="share of the class")
    beside = path.with_name(f"{path.stem}.next{path.suffix}")
    figure.savefig(beside, dpi=110, bbox_inches="tight")
    os.replace(beside, path)
