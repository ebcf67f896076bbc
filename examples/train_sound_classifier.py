"""Train a MobileNet on log-mel patches to tell sounds apart: any folder of sounds by class.

    python examples/train_sound_classifier.py sounds runs/sounds    # what is heard
    python examples/train_sound_classifier.py corpus runs/speakers  # who speaks

The folder holds <class>/**/*.{wav,flac,ogg,mp3}, or train/<class>/ and so on, as
examples/data/fetch_sounds.py and fetch_voices.py make them. Kill it at any time and start it
again: it goes on where it stopped. The run's folder holds the best model by accuracy on the
validation files, curves, and the scores of the test files with their confusion matrix.
"""

import argparse
import json
import os
import time
from pathlib import Path

import keras
import numpy as np
from classifier_training import check_same_run, draw_confusion
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import keras_sep
from keras_sep.data import SoundPatches, audio, split_sounds
from keras_sep.inference import Classifier
from keras_sep.memory import keep_freed_memory


class TrainingTime(keras.callbacks.Callback):
    """Seconds that training took, those of earlier starts included, in a JSON file."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.seconds = json.loads(path.read_text())["seconds"] if path.exists() else 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds += time.time() - self.start
        beside = self.path.with_suffix(".next")
        beside.write_text(json.dumps({"epochs": epoch + 1, "seconds": round(self.seconds)}) + "\n")
        os.replace(beside, self.path)


def train(splits: dict, out: Path, options: argparse.Namespace) -> None:
    model = keras_sep.models.SoundClassifier(list(splits["train"]), options.version, options.alpha)
    shared = {
        "samples": model.patch_samples,
        "batch_size": options.batch_size,
        "seed": options.seed,
    }
    training = SoundPatches(
        splits["train"], num_batches=options.steps, mixup=options.mixup, **shared
    )
    validation = SoundPatches(
        splits["valid"], num_batches=options.valid_batches, fixed=True, **shared
    )
    steps = options.epochs * options.steps
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=options.learning_rate, warmup_steps=steps // 20
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-2),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    model.fit(
        training,
        validation_data=validation,
        epochs=options.epochs,
        verbose=2 if options.quiet else "auto",
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: setattr(training, "epoch", epoch)
            ),
            TrainingTime(out / "time.json"),
            keras_sep.callbacks.BestModel(out / "best.keras", "val_accuracy"),
            keras_sep.callbacks.ResumableBackup(out / "backup"),
            keras.callbacks.CSVLogger(out / "log.csv", append=True),
            keras_sep.callbacks.TrainingCurves(out / "log.csv", out / "curves.png"),
        ],
    )


def score(
    classifier: Classifier, files: dict[str, list[Path]], rate: int | None = None
) -> dict[str, list[list[int]]]:
    """Confusion matrices of `files` and of their `patches`: counts by class and answer.

    With a `rate` the recordings are brought to it first: 8000 is what a telephone leaves.
    """
    names = classifier.class_names
    matrices = {unit: np.zeros((len(names), len(names)), int) for unit in ("files", "patches")}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("test files", total=sum(map(len, files.values())))
        for row, name in enumerate(names):
            for path in files[name]:
                waveform, own_rate = read(path)
                if rate is not None:
                    waveform, own_rate = audio.resample(waveform, own_rate, rate), rate
                patches = classifier.classify_patches(waveform, own_rate)
                matrices["files"][row, patches.mean(axis=0).argmax()] += 1
                np.add.at(matrices["patches"][row], patches.argmax(axis=1), 1)
                progress.advance(task)
    return {unit: matrix.tolist() for unit, matrix in matrices.items()}


def read(path: Path) -> tuple[np.ndarray, int]:
    with audio.open_audio(path) as file:
        return audio.read_frames(file).mean(axis=1), file.samplerate


def accuracies(matrix: list[list[int]]) -> tuple[float, float]:
    """Share of right answers, of all and as the mean over classes."""
    matrix = np.array(matrix)
    right = matrix.diagonal()
    return right.sum() / matrix.sum(), float(np.mean(right / matrix.sum(axis=1)))


def print_scores(names: list[str], scores: dict[str, list[list[int]]]) -> None:
    table = Table("class")
    for unit in scores:
        table.add_column(unit, justify="right")
        table.add_column("right", justify="right")
    for row, name in enumerate(names):
        cells = []
        for matrix in scores.values():
            count = sum(matrix[row])
            cells += [str(count), f"{matrix[row][row] / count:.1%}"]
        table.add_row(name, *cells)
    table.add_section()
    both = {unit: accuracies(matrix) for unit, matrix in scores.items()}
    for label, place in (("all", 0), ("mean of classes", 1)):
        table.add_row(label, *(x for pair in both.values() for x in ("", f"{pair[place]:.1%}")))
    Console().print(table)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="sounds by class")
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument("--version", default="v1", help="of the MobileNet")
    parser.add_argument("--alpha", type=float, default=0.25, help="its width")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=60, help="batches in an epoch")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the highest")
    parser.add_argument("--mixup", type=float, default=0.0, help="alpha of mixup, 0 for none")
    parser.add_argument(
        "--valid-batches", type=int, default=8, help="batches of the validation, the same each time"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true", help="one line an epoch, for logs")
    options = parser.parse_args(arguments)
    try:
        splits = split_sounds(options.folder)
    except ValueError as error:
        parser.error(str(error))
    config = {name: value for name, value in vars(options).items() if name not in ("out", "quiet")}
    config |= {"folder": options.folder.name, "backend": keras.backend.backend()}
    check_same_run(options.out, config)
    keras.utils.set_random_seed(options.seed)
    train(splits, options.out, options)
    classifier = Classifier(options.out / "best.keras")
    scores = score(classifier, splits["test"])
    print_scores(classifier.class_names, scores)
    draw_confusion(classifier.class_names, scores, options.out / "confusion.png")
    report = {"class_names": classifier.class_names, **scores}
    (options.out / "scores.json").write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    keep_freed_memory()
    main()
