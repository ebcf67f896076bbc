"""Score a separator on seeded mixtures of a corpus: mean SI-SNRi with a 95 % interval.

    python examples/evaluate_separator.py model.keras corpus/test corpus/unseen

Each folder gives 200 mixtures of 4 seconds, two different voices at -2.5 to 2.5 dB each.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_sep
from keras_sep.metrics import si_snr_improvement

BATCH_SIZE = 10


def score(model, folder: Path, num_mixtures: int = 200, seconds: float = 4.0, seed: int = 0):
    """SI-SNRi of each mixture in dB: `(num_mixtures,)`."""
    mixtures = keras_sep.data.SpeechMixtures(
        folder,
        num_sources=model.num_sources,
        segment_seconds=seconds,
        sample_rate=model.sample_rate,
        batch_size=BATCH_SIZE,
        num_batches=-(-num_mixtures // BATCH_SIZE),
        fixed=True,
        seed=seed,
    )
    improvements = []
    for index in track(range(len(mixtures)), f"{folder}", console=Console(stderr=True)):
        mixture, sources = mixtures[index]
        estimates = keras.ops.convert_to_tensor(model.predict_on_batch(mixture))
        improvement = si_snr_improvement(keras.ops.convert_to_tensor(sources), estimates)
        improvements.append(keras.ops.convert_to_numpy(improvement))
    return np.concatenate(improvements)[:num_mixtures]


def summarize(improvements: np.ndarray) -> dict:
    """Mean, 95 % bootstrap interval of the mean, and quartiles, in dB."""
    resampled = np.random.default_rng(0).choice(improvements, (2000, len(improvements))).mean(1)
    return {
        "mixtures": len(improvements),
        "mean": round(float(improvements.mean()), 2),
        "interval_95": [round(float(q), 2) for q in np.percentile(resampled, [2.5, 97.5])],
        "quartiles": [round(float(q), 2) for q in np.percentile(improvements, [25, 50, 75])],
    }


def print_scores(scores: dict) -> None:
    """A table, one row a folder."""
    table = Table("folder", "mixtures", "SI-SNRi (dB)", "95 % interval", "quartiles")
    for folder, row in scores.items():
        interval, quartiles = (
            " … ".join(map(str, row[name])) for name in ("interval_95", "quartiles")
        )
        table.add_row(folder, str(row["mixtures"]), str(row["mean"]), interval, quartiles)
    Console().print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a .keras file")
    parser.add_argument("folders", type=Path, nargs="+", help="each <speaker>/**/*.{wav,flac}")
    parser.add_argument("--mixtures", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the scores here")
    arguments = parser.parse_args()
    model = keras.saving.load_model(arguments.model, compile=False)
    scores = {
        folder.name: summarize(
            score(model, folder, arguments.mixtures, arguments.seconds, arguments.seed)
        )
        for folder in arguments.folders
    }
    print_scores(scores)
    if arguments.json:
        arguments.json.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
