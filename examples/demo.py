"""Separate the bundled two-speaker recordings with the bundled model; `make demo` runs this.

Prints SI-SNRi for each, writes the separated voices as WAV files and one picture of all.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import soundfile
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from keras_sep.inference import Separator
from keras_sep.losses.permutation_invariant import assignments
from keras_sep.losses.si_snr import si_snr

MIXTURES = Path(__file__).parent / "data" / "mixtures"


def main(out: Path):
    out.mkdir(parents=True, exist_ok=True)
    separator = Separator()
    table = Table("mixture", "SI-SNRi (dB)", "voice 1", "voice 2")
    panels = []
    folders = sorted(path.parent for path in MIXTURES.glob("*/mixture.wav"))
    for folder in track(folders, "Separating", console=Console(stderr=True)):
        mixture, sample_rate = soundfile.read(folder / "mixture.wav", dtype="float32")
        references = np.stack(
            [soundfile.read(path, dtype="float32")[0] for path in sorted(folder.glob("ref*.wav"))]
        )
        estimates, gains = align(references, separator.separate(mixture, sample_rate), mixture)
        table.add_row(folder.name, f"{gains.mean():.1f}", *[f"{gain:.1f}" for gain in gains])
        for index, estimate in enumerate(estimates, 1):
            soundfile.write(out / f"{folder.name}_voice{index}.wav", estimate, sample_rate)
        panels.append((folder.name, sample_rate, mixture, estimates, references))
    draw(panels, out / "demo.png")
    Console().print(table)
    print(f"Voices and picture are in {out}/: listen to *_voice1.wav, look at demo.png.")


def align(references, estimates, mixture):
    """Estimates in the order of the references, and each one's gain in SI-SNR over the mixture."""
    pairwise = keras.ops.convert_to_numpy(si_snr(references[:, None], estimates[None]))
    sources = np.arange(len(references))
    order = max(assignments(len(references)), key=lambda order: pairwise[sources, order].sum())
    unprocessed = keras.ops.convert_to_numpy(si_snr(references, mixture[None]))
    return estimates[order], pairwise[sources, order] - unprocessed


def draw(panels, path):
    """One row a signal, waveform beside spectrogram; one column pair a mixture."""
    figure = Figure(figsize=(7 * len(panels), 10), layout="constrained")
    axes = figure.subplots(5, 2 * len(panels), squeeze=False)
    for column, (name, sample_rate, mixture, estimates, references) in enumerate(panels):
        rows = [("mixture", mixture)]
        for index, pair in enumerate(zip(estimates, references, strict=True), 1):
            rows += zip((f"estimate {index}", f"reference {index}"), pair, strict=True)
        for row, (label, signal) in enumerate(rows):
            wave, spectrogram = axes[row, 2 * column : 2 * column + 2]
            wave.plot(np.arange(len(signal)) / sample_rate, signal, linewidth=0.4)
            wave.set(xlim=(0, len(signal) / sample_rate), ylabel=label)
            peak = np.abs(signal).max()
            with np.errstate(divide="ignore"):  # the logarithm of digital silence
                spectrogram.specgram(
                    signal / peak,
                    NFFT=256,
                    Fs=sample_rate,
                    noverlap=192,
                    vmin=-120,
                    vmax=-30,
                    cmap="magma",
                )
            spectrogram.set(ylabel="Hz", facecolor="black")
        axes[0, 2 * column].set_title(name.replace("_", " "))
        axes[-1, 2 * column].set_xlabel("seconds")
        axes[-1, 2 * column + 1].set_xlabel("seconds")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    main(**vars(parser.parse_args()))
