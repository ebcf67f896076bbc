"""Make the bundled model from a finished run: `.keras`, SavedModel, scores and model card.

    python examples/bundle_separator.py runs/voices corpus saved_models/conv_tasnet_8k

Scores it first, on 200 mixtures each of corpus/test, corpus/unseen, and the telephone prompts among
corpus/test.
"""

import argparse
import csv
import json
import shutil
import tempfile
from pathlib import Path

import keras
from evaluate_separator import print_scores, score, summarize

import keras_sep

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
({hours:.0f} hours of mixtures), {optimizer} with clipnorm 5, {rates}, average of the weights
with momentum {ema}. The best epoch by SI-SNRi on {valid_mixtures} validation mixtures of
{segment_seconds} s is kept: epoch {epoch} of {epochs}, {best:.2f} dB. `log.csv` has the curve,
`config.json` the command's options. Before the rate fell, the last {steps_per_epoch} steps at
{rate:.2g} had still brought {slope:.2f} dB: longer training would do better.

## Scores

Mean SI-SNRi in dB over 200 seeded mixtures of 4 s, two different voices, -2.5 to 2.5 dB each
(`examples/evaluate_separator.py`):

| voices | SI-SNRi | 95 % interval | quartiles |
| --- | --- | --- | --- |
{scores}

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


def main(run: Path, corpus: Path, out: Path):
    config = json.loads((run / "config.json").read_text())
    best = json.loads((run / "best.json").read_text())
    with open(run / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    model = keras.saving.load_model(run / "best.keras", compile=False)
    scores = {name: summarize(score(model, corpus / name)) for name in ("test", "unseen")}
    with tempfile.TemporaryDirectory() as prompts:
        for speaker in PROMPTS:
            (Path(prompts) / speaker).symlink_to((corpus / "test" / speaker).resolve())
        scores["prompts"] = summarize(score(model, Path(prompts)))
    print_scores(scores)

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
        "scores": "\n".join(
            f"| {name} | {row['mean']} | {' … '.join(map(str, row['interval_95']))} | "
            f"{' / '.join(map(str, row['quartiles']))} |"
            for name, row in scores.items()
        ),
    }
    (out / "README.md").write_text(CARD.format(**values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    main(**vars(parser.parse_args()))
