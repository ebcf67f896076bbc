"""Make the bundled sound classifier from a finished run: `.keras`, SavedModel, scores, model card.

    python examples/bundle_sound_classifier.py runs/sounds sounds \\
        saved_models/sound_classifier_16k --about examples/data/SOUNDS.md

Scores it on the test files of the folder it was trained on, as they are and brought to 8 kHz, what
a telephone leaves of them.
"""

import argparse
import json
import shutil
from pathlib import Path

import keras
from bundling import new_folder
from classifier_training import draw_confusion
from train_sound_classifier import accuracies, print_scores, score

import keras_sep
from keras_sep.data import split_sounds
from keras_sep.inference import Classifier

# None: as they are.
RATES = {"full_band": None, "telephone_band": 8000}

CARD = """# {name}

Tells {num_classes} kinds of sounds apart: {classes}. A MobileNet {version} (Howard et al. 2017,
arXiv 1704.04861) of {parameters:,} parameters, alpha {alpha:g}, on YAMNet's log-mel patches:
16 kHz, 0.96 s every 0.48 s, 64 bands from 125 to 7500 Hz; the probabilities of the patches are
averaged. `1/` is the SavedModel, `waveform` `[batch, samples]` to `probabilities` and
`class_names` `[batch, {num_classes}]`; `{name}.keras` is its twin for any backend.

## Data

The recordings of `{folder}`, {train} for training, {valid} for validation, {test} for the test, no
file in two of them{about}. Classes are drawn equally often, in a class all files; peaks
of -30 to -0.5 dB of full scale, at 0.8 to 1.25 times their speed, and half of the pieces cut off
at 3.4 to 8 kHz, so that the bandwidth of old recordings does not tell their class.

## Training

`examples/train_sound_classifier.py` with {backend} on 2 CPU cores: {steps:,} steps of
{batch_size} patches in {minutes:.0f} minutes, other programs running beside it; AdamW, learning
rate up to {learning_rate:g} with warm-up and cosine, label smoothing 0.1, mixup {mixup:g}. The
best epoch by accuracy on {valid_patches} augmented validation patches, about {per_class:.0f} of a
class, is kept: epoch {epoch} of {epochs}, {best:.1%}. `log.csv` has the curve, `config.json` the
options.

## Scores

{tables}

Always answering {largest} would be right about {share:.1%} of the files; the mean of classes,
{mean:.1%} where chance is {chance:.0%}, is the score to read.

`confusion.png`, of the recordings as they are:

![Confusion matrices](confusion.png)

## Licence

The weights are under Apache-2.0, as the package. The recordings they were trained on have licences
of their own.

## Limits

Classes of few test files are scored coarsely: {smallest} has {fewest}, so that one more right or
wrong moves its score by {step:.0%}. The test files come from where the training files do; sounds
from elsewhere will be told apart less well than the test says. There is no class for anything
else: any sound gets one of these {num_classes} names, silence too, and a high probability does not
say that the sound is of the class. Single sounds in clean recordings, not mixtures.
"""


def table(names: list[str], scores: dict) -> str:
    """Markdown: right answers by class."""
    matrices = {
        f"{unit}, {band.replace('_', ' ')}": matrix
        for band, of_band in scores.items()
        for unit, matrix in of_band.items()
    }
    rows = [f"| class | {' | '.join(matrices)} |", "| --- |" + " ---: |" * len(matrices)]
    for row, name in enumerate(names):
        counts = [(matrix[row][row], sum(matrix[row])) for matrix in matrices.values()]
        cells = (f"{right} of {count}" for right, count in counts)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    both = [accuracies(matrix) for matrix in matrices.values()]
    rows.append("| all | " + " | ".join(f"{pair[0]:.1%}" for pair in both) + " |")
    rows.append("| mean of classes | " + " | ".join(f"{pair[1]:.1%}" for pair in both) + " |")
    return "\n".join(rows)


def main(run: Path, folder: Path, bundle: Path, about: str | None = None):
    with new_folder(bundle) as beside:
        fill(beside, bundle.name, run, folder, about)


def fill(out: Path, name: str, run: Path, folder: Path, about: str | None):
    config = json.loads((run / "config.json").read_text())
    best = json.loads((run / "best.json").read_text())
    spent = json.loads((run / "time.json").read_text())
    model = keras.saving.load_model(run / "best.keras", compile=False)
    splits = split_sounds(folder)
    classifier = Classifier(model)
    scores = {band: score(classifier, splits["test"], rate) for band, rate in RATES.items()}
    for of_band in scores.values():
        print_scores(model.class_names, of_band)

    model.save(out / f"{name}.keras")
    keras_sep.export.export_saved_model(model, out / "1")
    for file in ("config.json", "log.csv"):
        shutil.copy(run / file, out / file)
    draw_confusion(model.class_names, scores["full_band"], out / "confusion.png")
    report = {"class_names": model.class_names, **scores}
    (out / "scores.json").write_text(json.dumps(report) + "\n")
    counts = {split: sum(map(len, classes.values())) for split, classes in splits.items()}
    tests = {name: len(files) for name, files in splits["test"].items()}
    largest, smallest = max(tests, key=tests.get), min(tests, key=tests.get)
    valid_patches = config["valid_batches"] * config["batch_size"]
    values = {
        **config,
        **counts,
        "name": name,
        "about": f" (`{about}` says what they are, their licences and limits)" if about else "",
        "num_classes": len(model.class_names),
        "classes": ", ".join(model.class_names),
        "version": model.version.upper(),
        "parameters": model.count_params(),
        "backend": {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}[
            config["backend"]
        ],
        "steps": spent["epochs"] * config["steps"],
        "minutes": spent["seconds"] / 60,
        "valid_patches": valid_patches,
        "per_class": valid_patches / len(tests),
        "epoch": best["epoch"],
        "best": best["val_accuracy"],
        "tables": table(model.class_names, scores),
        "largest": largest,
        "share": tests[largest] / counts["test"],
        "mean": accuracies(scores["full_band"]["files"])[1],
        "chance": 1 / len(tests),
        "smallest": smallest,
        "fewest": tests[smallest],
        "step": 1 / tests[smallest],
    }
    (out / "README.md").write_text(CARD.format(**values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path, help="the sounds it was trained on")
    parser.add_argument("bundle", type=Path, help="folder to make")
    parser.add_argument("--about", help="file of this repository that says what the sounds are")
    main(**vars(parser.parse_args()))
