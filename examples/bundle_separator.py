"""Make the bundled model from a finished run: `.keras`, SavedModel, scores and model card.

    python examples/bundle_separator.py runs/voices corpus saved_models/conv_tasnet_8k

Scores it first, as `keras-sep evaluate` does, on 200 mixtures each of corpus/test, corpus/unseen,
and the telephone prompts among corpus/test: mixtures of segments, and of whole files.
"""

import argparse
import csv
import json
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np

import keras_sep
from keras_sep.evaluation import evaluate, open_data
from keras_sep.inference import Separator

NUM_MIXTURES = 200
# None: whole files.
LENGTHS = {"segments": 4.0, "whole_files": None}
METRICS = ("si-snri", "sdri", "stoi", "pesq")

# The voices of the bundled mixtures: telephone prompts.
PROMPTS = ("allison_smith", "carlo_flora", "june_wallack", "maxim_topal")

CARD = """# conv_tasnet_8k

Separates two voices of a one-channel recording at {sample_rate} Hz. A Conv-TasNet (Luo &
Mesgarani 2019, arXiv 1809.07454) of {parameters:,} parameters: N {filters}, L {kernel_size},
B {bottleneck_dim}, H {hidden_dim}, Sc {skip_dim}, P {conv_kernel_size}, X {num_blocks},
R {num_repeats}, global layer normalization, sigmoid masks. `1/` is the SavedModel, `{name}.keras`
its twin for any backend.

## Data

`examples/data/fetch_voices.py`: 39 voices in 20-odd languages, telephone prompts, a game's actors
and spoken words from Debian's packages, 312 minutes to train on (`examples/data/VOICES.md` lists
voices, licences and credits). Mixed on the fly in segments of {segment_seconds} s, each voice at
-2.5 to 2.5 dB and at {speed_change[0]} to {speed_change[1]} times its speed.

## Training

`keras-sep train` with TensorFlow on 2 CPU cores: {steps:,} steps of {batch_size} mixtures
({hours:.0f} hours of mixtures), {optimizer} with global_clipnorm 5, {rates}, average of the weights
with momentum {ema}. The best epoch by SI-SNRi on {valid_mixtures} validation mixtures of
{segment_seconds} s is kept: epoch {epoch} of {epochs}, {best:.2f} dB. `log.csv` has the curve,
`config.json` the command's options. Before the rate fell, the last {steps_per_epoch} steps at
{rate:.2g} had still brought {slope:.2f} dB: longer training would do better.

## Scores

Means over 200 seeded mixtures of two different voices, -2.5 to 2.5 dB each, with 95 % bootstrap
intervals; STOI and PESQ (narrow band) also of the mixtures as they are, before the arrow. Some
mixtures are too short for these two, `scores.json` has the numbers.

Segments of 4 s (`keras-sep evaluate corpus/test corpus/unseen --seconds 4`):

{segments}

Whole files, mostly words and short sentences, cut to the shorter one (without `--seconds`):

{whole_files}

`test` holds new recordings of the voices it was trained on, `unseen` four voices it never heard,
`prompts` only the four voices of `test` that the bundled mixtures are of, telephone prompts. Why
these are so much harder was not looked into.

## Licence

The weights are under Apache-2.0, as the package. The
recordings they were trained on have licences of their own (`examples/data/VOICES.md`).

## Limits

Few voices and little training: the paper's model, thirteen times larger and trained on WSJ0-2mix
for days, reaches 15.3 dB there. Two voices exactly, dry recordings at telephone bandwidth; noise,
reverberation, music and more voices were not in the training. Voices of the same sex are harder,
and the two estimates may swap within a recording. Not meant for listening in on people.
"""


class Unprocessed:
    """Gives the mixture for every source."""

    def __init__(self, separator):
        self.num_sources, self.sample_rate = separator.num_sources, separator.sample_rate

    def separate(self, mixture):
        return np.stack([mixture] * self.num_sources)


def score(separator, folder: Path, seconds: float | None) -> dict:
    """`Evaluation.summary` with the mean of `seconds`, and that of the mixtures `unprocessed`."""
    data = open_data(folder, separator.num_sources, separator.sample_rate, NUM_MIXTURES, seconds)
    evaluation = evaluate(separator, data, METRICS)
    return {
        "seconds": round(np.mean([mixture.seconds for mixture in evaluation.mixtures]), 2),
        **evaluation.summary(),
        "unprocessed": evaluate(Unprocessed(separator), data, ("stoi", "pesq")).summary(),
    }


def table(scores: dict) -> str:
    """Markdown, one row a folder."""

    def cell(row, digits=2):
        if row["mean"] is None:
            return "–"
        low, high = row["interval_95"]
        return f"{row['mean']:.{digits}f} ({low:.{digits}f} … {high:.{digits}f})"

    rows = [
        "| voices | SI-SNRi (dB) | its quartiles | SDRi (dB) | STOI | PESQ |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in scores.items():
        quartiles = " / ".join(f"{value:.2f}" for value in row["si-snri"]["quartiles"])
        before = {metric: values["mean"] or 0 for metric, values in row["unprocessed"].items()}
        rows.append(
            f"| {name} | {cell(row['si-snri'])} | {quartiles} | {cell(row['sdri'])} | "
            f"{before['stoi']:.3f} → {cell(row['stoi'], 3)} | "
            f"{before['pesq']:.2f} → {cell(row['pesq'])} |"
        )
    return "\n".join(rows)


def main(run: Path, corpus: Path, out: Path):
    config = json.loads((run / "config.json").read_text())
    best = json.loads((run / "best.json").read_text())
    with open(run / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    model = keras.saving.load_model(run / "best.keras", compile=False)
    separator = Separator(model)
    with tempfile.TemporaryDirectory() as prompts:
        for speaker in PROMPTS:
            (Path(prompts) / speaker).symlink_to((corpus / "test" / speaker).resolve())
        folders = {"test": corpus / "test", "unseen": corpus / "unseen", "prompts": Path(prompts)}
        scores = {
            length: {name: score(separator, folder, seconds) for name, folder in folders.items()}
            for length, seconds in LENGTHS.items()
        }
    tables = {length: table(rows) for length, rows in scores.items()}
    print(*tables.values(), sep="\n\n")

    out.mkdir(parents=True, exist_ok=True)
    model.save(out / f"{out.name}.keras")
    shutil.rmtree(out / "1", ignore_errors=True)
    keras_sep.export.export_saved_model(model, out / "1")
    for name in ("config.json", "log.csv"):
        shutil.copy(run / name, out / name)
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    steps = best["epoch"] * config["steps"]
    rows = [row for row in log if int(row["epoch"]) < best["epoch"]]
    rates = [float(row["learning_rate"]) for row in rows]
    full = [
        float(row["val_si_snr_improvement"])
        for row in rows
        if float(row["learning_rate"]) == rates[0]
    ]
    values = {
        **model.get_config(),
        **config,
        "optimizer": config["optimizer"].capitalize(),
        "name": out.name,
        "parameters": model.count_params(),
        "steps": steps,
        "hours": steps * config["batch_size"] * config["segment_seconds"] / 3600,
        "rates": f"learning rate {rates[0]:.2g}, falling to {rates[-1]:.2g}",
        "steps_per_epoch": config["steps"],
        "rate": rates[0],
        "slope": full[-1] - full[-2] if len(full) > 1 else 0.0,
        "epoch": best["epoch"],
        "epochs": len(log),
        "best": best["val_si_snr_improvement"],
        **tables,
    }
    (out / "README.md").write_text(CARD.format(**values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    main(**vars(parser.parse_args()))
