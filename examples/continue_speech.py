"""Continue a recording: a PixelCNN goes on with the codes of its spectrogram, frame after frame.

    python examples/train_vq_vae_2.py runs/voices --speech corpus --levels 1 --strides 8 \\
        --size 64 --bins 128
    python examples/continue_speech.py runs/voices/best.keras corpus recording.wav out/voices

The VQ-VAE turns the log-spectrogram of the recording's first `--seconds` into a grid of codes, time
along the rows; a prior, trained on the corpus at the first call, draws the codes of `--more`
seconds after them; what the VQ-VAE makes of all becomes a waveform by Griffin and Lim's algorithm.
`out/voices` gets the prior with its log, `scores.json` with the bits it needs for a code beside the
entropy of the codes alone, and for each continuation a WAV file and a PNG of its spectrogram, the
first drawn frame marked. Kill the training at any time and start it again: it goes on.
"""

import argparse
import json
import math
import os
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from train_prior import marginal_entropy
from train_vq_vae_2 import Clock, check_same_run

import keras_sep
from keras_sep.data import SpectrogramCrops, audio
from keras_sep.data.spectrogram_crops import log_spectrograms
from keras_sep.memory import keep_freed_memory

SAMPLE_RATE, HOP = 8000, 64
BATCH, VALIDATION_BATCHES = 32, 8
# Arguments that a prior is trained with.
TRAINING = ("bins", "frames", "batches", "filters", "layers", "kernel_size", "learning_rate")
GRIFFIN_LIM_ROUNDS, MOMENTUM = 64, 0.99


def hann(size: int) -> np.ndarray:
    return np.hanning(size + 1)[:-1]


def stft(waveform: np.ndarray, size: int) -> np.ndarray:
    """Complex `(frames, size / 2 + 1)` of the frames that lie within the samples."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, size)[::HOP]
    return np.fft.rfft(frames * hann(size))


def istft(spectrum: np.ndarray, size: int) -> np.ndarray:
    """The waveform whose frames are nearest to a spectrum, in the sense of least squares."""
    frames = np.fft.irfft(spectrum, size) * hann(size)
    waveform = np.zeros((len(frames) - 1) * HOP + size)
    weights = np.zeros_like(waveform)
    for index, frame in enumerate(frames):
        waveform[index * HOP :][:size] += frame
        weights[index * HOP :][:size] += hann(size) ** 2
    return waveform / np.maximum(weights, 1e-3)


def griffin_lim(magnitudes: np.ndarray, rounds: int = GRIFFIN_LIM_ROUNDS) -> np.ndarray:
    """A waveform with spectrum magnitudes `(frames, size / 2 + 1)`.

    Griffin and Lim 1984, with the momentum of Perraudin et al. 2013.
    """
    size = 2 * (magnitudes.shape[1] - 1)
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(magnitudes.shape))
    before = np.zeros_like(phases)
    for _ in range(rounds):
        rebuilt = stft(istft(magnitudes * phases, size), size)
        phases = rebuilt - MOMENTUM / (1 + MOMENTUM) * before
        phases /= np.maximum(np.abs(phases), 1e-12)
        before = rebuilt
    return istft(magnitudes * phases, size)


def to_waveform(levels: np.ndarray) -> np.ndarray:
    """The waveform of levels `(frames, bins)` as `SpectrogramCrops` has them."""
    size = 2 * levels.shape[1]
    magnitudes = 10 ** (50 * (np.clip(levels, -1, 1) - 1) / 20) * hann(size).sum() / 2
    magnitudes[levels <= -1] = 0
    return griffin_lim(np.pad(magnitudes, ((0, 0), (0, 1)))).astype("float32")


def read_start(path: Path, seconds: float) -> np.ndarray:
    """The first seconds of a recording, one channel at the model's rate."""
    info = audio.inspect(path)
    samples = audio.read_segment(path, 0, min(info.frames, math.ceil(seconds * info.sample_rate)))
    samples = samples.reshape(len(samples), -1).mean(axis=1, keepdims=True)
    if info.sample_rate != SAMPLE_RATE:
        samples = audio.resample(samples, info.sample_rate, SAMPLE_RATE)
    return samples[:, 0]


def codes_of(vq_vae, folder: Path, options, batches: int, fixed_seed: int, label: str):
    """Codes of random segments of a folder's recordings, `(segments, rows, bands)`."""
    size = {"num_frames": options.frames, "num_bins": options.bins, "hop": HOP}
    crops = SpectrogramCrops(
        folder, sample_rate=SAMPLE_RATE, batch_size=BATCH, num_batches=batches, fixed=True,
        seed=fixed_seed, **size,
    )  # fmt: skip
    codes = [
        keras.ops.convert_to_numpy(vq_vae.encode(keras.ops.convert_to_tensor(crops[index][0]))[0])
        for index in track(range(batches), label, console=Console(stderr=True), transient=True)
    ]
    return np.concatenate(codes).astype("int32")


def train_prior(vq_vae, options) -> keras_sep.models.PixelCNN:
    """The prior of `options.out`, trained if it is not there or not done."""
    best, scores = options.out / "prior.keras", options.out / "scores.json"
    arguments = {name: getattr(options, name) for name in TRAINING}
    check_same_run(argparse.Namespace(out=options.out, **arguments))
    if scores.exists():
        return keras.saving.load_model(best, compile=False)
    corpus = options.corpus
    splits = [corpus / "train", corpus / "valid"] if (corpus / "valid").is_dir() else [corpus] * 2
    training = codes_of(vq_vae, splits[0], options, options.batches, 0, "codes to train on")
    valid = codes_of(vq_vae, splits[1], options, VALIDATION_BATCHES, 1, "codes to validate on")
    model = keras_sep.models.PixelCNN(
        vq_vae.num_embeddings,
        filters=options.filters,
        num_layers=options.layers,
        kernel_size=options.kernel_size,
    )
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate, options.epochs * options.batches
    )
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        jit_compile=keras.backend.backend() != "torch",
    )
    model.fit(
        training,
        validation_data=(valid, None),
        batch_size=BATCH,
        epochs=options.epochs,
        callbacks=[
            Clock(),
            keras_sep.callbacks.BestModel(best, monitor="val_bits_per_dimension", mode="min"),
            keras_sep.callbacks.ResumableBackup(options.out / "backup"),
            keras.callbacks.CSVLogger(options.out / "log.csv", append=True),
        ],
    )
    model = keras.saving.load_model(best, compile=False)
    model.compile()
    logs = model.evaluate(valid, batch_size=BATCH, verbose=0, return_dict=True)
    text = {
        "segments": len(valid),
        "bits_per_code": logs["bits_per_dimension"],
        "marginal_entropy": marginal_entropy(valid),
        "uniform": math.log2(vq_vae.num_embeddings),
    }
    scores.write_text(json.dumps(text, indent=2) + "\n")
    return model


def continue_codes(prior, start: np.ndarray, rows: int, options) -> np.ndarray:
    """Grids of `(rows, bands)`, the first rows as in `start`, the others drawn."""
    fixed = np.zeros((options.number, rows, start.shape[1]), "int32")
    fixed[:, : len(start)] = start
    mask = np.zeros(fixed.shape, bool)
    mask[:, : len(start)] = True
    return prior.sample(
        fixed.shape[1:],
        options.number,
        temperature=options.temperature,
        seed=options.seed,
        fixed=fixed,
        fixed_mask=mask,
    )


def draw(levels: np.ndarray, first: int, path: Path) -> None:
    """Draws levels `(frames, bins)`, low frequencies below, a line before the first drawn frame."""
    from matplotlib import colormaps
    from matplotlib.image import imsave

    colours = colormaps["magma"](np.clip(levels.T[::-1] / 2 + 0.5, 0, 1))
    colours[:, first - 1] = 1.0
    beside = path.with_suffix(".next.png")
    imsave(beside, np.repeat(np.repeat(colours, 2, axis=0), 2, axis=1))
    os.replace(beside, path)


def main(options) -> list[Path]:
    import soundfile

    console = Console(stderr=True)
    vq_vae = keras.saving.load_model(options.vq_vae, compile=False)
    if getattr(vq_vae, "num_levels", None) != 1 or vq_vae.channels != 1 or vq_vae.rank != 2:
        raise SystemExit(
            f"{options.vq_vae} must be a VQ-VAE of spectrograms with one grid of codes; train one "
            "by train_vq_vae_2.py --speech corpus --levels 1"
        )
    try:
        waveform = read_start(options.recording, options.seconds)
    except audio.AudioError as error:
        raise SystemExit(str(error)) from None
    strides = vq_vae.strides
    if options.bins % strides or options.frames % strides:
        raise SystemExit(f"--bins and --frames must be divisible by the model's {strides} strides")
    needed = (strides - 1) * HOP + 2 * options.bins
    if len(waveform) < needed:
        raise SystemExit(
            f"{options.recording} must have at least {needed / SAMPLE_RATE:.2f} s, its start has "
            f"{len(waveform) / SAMPLE_RATE:.2f} s; give a longer one or more --seconds"
        )
    levels = log_spectrograms(waveform[None], options.bins, HOP)[0]
    levels = levels[: len(levels) // strides * strides]
    prior = train_prior(vq_vae, options)
    start = keras.ops.convert_to_numpy(vq_vae.encode(levels[None, ..., None])[0])[0]
    more = max(round(options.more * SAMPLE_RATE / (HOP * strides)), 1)
    with console.status(f"{more} rows of {start.shape[1]} codes"):
        codes = continue_codes(prior, start, len(start) + more, options)
        decoded = keras.ops.convert_to_numpy(vq_vae.decode([codes]))[..., 0]
    files = []
    for index in track(range(options.number), "waveforms", console=console, transient=True):
        path = options.out / f"continued_{index + 1}.wav"
        beside = path.with_suffix(".next.wav")
        soundfile.write(beside, to_waveform(decoded[index]), SAMPLE_RATE)
        os.replace(beside, path)
        draw(decoded[index], len(levels), path.with_suffix(".png"))
        files.append(path)
    seconds = len(levels) * HOP / SAMPLE_RATE
    print(f"{', '.join(map(str, files))}: drawn from {seconds:.2f} s on")
    return files


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vq_vae", type=Path, help=".keras file of a VQ-VAE of spectrograms")
    parser.add_argument("corpus", type=Path, help="folder of recordings at 8 kHz, for the prior")
    parser.add_argument("recording", type=Path, help="WAV, FLAC, OGG or MP3 to continue")
    parser.add_argument("out", type=Path, help="folder for the prior and the sounds")
    parser.add_argument("--seconds", type=float, default=1.5, help="of the recording to keep")
    parser.add_argument("--more", type=float, default=1.5, help="seconds to draw")
    parser.add_argument("--number", type=int, default=3, help="of continuations")
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--bins", type=int, default=128, help="frequencies the VQ-VAE was made for")
    parser.add_argument("--frames", type=int, default=256, help="of a segment to train on")
    parser.add_argument("--batches", type=int, default=64, help="of 32 segments to train on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--filters", type=int, default=64, help="channels of the prior (p)")
    parser.add_argument("--layers", type=int, default=5, help="gated layers of the prior")
    parser.add_argument("--kernel-size", type=int, default=5, help="of the prior, odd")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    keep_freed_memory()
    main(parse())
