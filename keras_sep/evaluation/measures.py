"""Measures of separated sources, in NumPy and float64: JAX would compile for each new length."""

import importlib
import warnings
from collections.abc import Sequence

import numpy as np

from keras_sep.data import audio
from keras_sep.inference.chunk_joiner import best_order

METRICS = ("si-snr", "si-snri", "sdr", "sdri", "stoi", "pesq")

# The packages of the extra `eval` that they need.
_PACKAGES = {"sdr": "fast_bss_eval", "sdri": "fast_bss_eval", "stoi": "pystoi", "pesq": "pesq"}

# Ratios beyond ±100 dB are the rounding of the samples.
_MOST_DB = 100.0
# Taps of the distortion that BSS-eval forgives.
_FILTER_LENGTH = 512
# STOI compares stretches of 30 frames, which need this long.
_STOI_SECONDS = 0.397
# PESQ's code holds 50 utterances, of 0.2 s and a pause of 0.2 s at least, and does not look.
_PESQ_SECONDS = 20.0


class _UndefinedError(ValueError):
    """A measure has no value here; the message says why."""


def check_metrics(metrics: Sequence[str]) -> None:
    """Imports what metrics need. Do so before importing a backend: fast_bss_eval imports PyTorch
    where it is installed, which must come before TensorFlow.

    Raises:
        ValueError: There is no such metric.
        ImportError: A package is missing; one line that names the extra.
    """
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown or not metrics:
        raise ValueError(
            f"metrics must be of {', '.join(METRICS)}, got {', '.join(unknown) or 'none'}"
        )
    for metric in metrics:
        package = _PACKAGES.get(metric)
        try:
            importlib.import_module(package or "numpy")
        except ImportError:
            raise ImportError(
                f"{metric} needs {package}, which is not installed: pip install 'keras-sep[eval]', "
                "or choose metrics without it; si-snr and si-snri need nothing"
            ) from None


def measure(
    mixture: np.ndarray,
    references: np.ndarray,
    estimates: np.ndarray,
    sample_rate: int,
    metrics: Sequence[str] = METRICS,
) -> tuple[list[int] | None, dict[str, float], dict[str, str]]:
    """Measures estimates against references, mean over the sources.

    The estimates are assigned to the references once, so that their mean SI-SNR is highest, and
    all metrics are those of this assignment:

    - "si-snr" in dB (Le Roux et al. 2019, arXiv 1811.02508, of zero-mean signals), and "si-snri",
      its gain over the mixture as the estimate of each source.
    - "sdr" in dB: that of BSS-eval, 512 taps (Vincent et al. 2006), by fast_bss_eval (Scheibler
      2021, arXiv 2110.06440), and "sdri", its gain over the mixture. Both within ±100 dB.
    - "stoi", 0 to 1 (Taal et al. 2011), by pystoi.
    - "pesq", MOS-LQO (ITU-T P.862), by pesq: see `describe_pesq`. Of signals longer than 20 s the
      mean over equal parts of at most 20 s.

    Args:
        mixture: `(samples,)`.
        references: `(num_sources, samples)`.
        estimates: `(num_sources, samples)`.
        sample_rate: In Hz.
        metrics: Of `METRICS`.

    Returns:
        The index of the estimate of each reference, None where all is undefined; the values by
        metric; for each metric without a value, why. There is none for a constant (silent)
        reference, estimate or mixture.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    if references.shape != estimates.shape or mixture.shape != references.shape[1:]:
        raise ValueError(
            "mixture, references and estimates must be (samples,) and twice (num_sources, "
            f"samples), got {mixture.shape}, {references.shape}, {estimates.shape}"
        )
    signals = {"reference": references, "estimate": estimates, "mixture": mixture[None]}
    for name, waveforms in signals.items():
        if not np.isfinite(waveforms).all():
            return None, {}, dict.fromkeys(metrics, f"{name} with NaN or infinite samples")
        if (np.ptp(waveforms, axis=1) == 0).any():
            return None, {}, dict.fromkeys(metrics, f"silent {name}")
    references, estimates, mixture = (
        waveforms.astype("float64") for waveforms in (references, estimates, mixture)
    )
    order = best_order(_si_snr(references, estimates)).tolist()
    estimates = estimates[order]
    values, problems = {}, {}
    for names, function, arguments in [
        (("si-snr", "si-snri"), _gains, (_si_snr, references, estimates, mixture)),
        (("sdr", "sdri"), _gains, (_sdr, references, estimates, mixture)),
        (("stoi",), _means, (_stoi, references, estimates, sample_rate)),
        (("pesq",), _means, (_pesq, references, estimates, sample_rate)),
    ]:
        wanted = [name for name in names if name in metrics]
        if not wanted:
            continue
        try:
            found = dict(zip(names, function(*arguments), strict=True))
            values.update((name, found[name]) for name in wanted)
        except _UndefinedError as error:
            problems.update(dict.fromkeys(wanted, str(error)))
    return order, values, problems


def describe_pesq(sample_rate: int) -> str:
    """Which PESQ is taken of signals of a rate: wide band at 16 kHz from there on, or narrow band
    at 8 kHz; signals of another rate are resampled."""
    rate = _pesq_rate(sample_rate)
    kind = f"{'wide' if rate == 16000 else 'narrow'} band at {rate} Hz"
    return kind if rate == sample_rate else f"{kind}, resampled from {sample_rate} Hz"


def _pesq_rate(sample_rate):
    return 16000 if sample_rate >= 16000 else 8000


def _gains(ratios, references, estimates, mixture):
    """Mean of a ratio in dB over the sources, and its gain over that of the mixture."""
    pairwise = ratios(references, np.concatenate([estimates, mixture[None]]))
    value = float(np.diagonal(pairwise).mean())
    return value, value - float(pairwise[:, -1].mean())


def _means(function, references, estimates, sample_rate):
    pairs = zip(references, estimates, strict=True)
    return (float(np.mean([function(*pair, sample_rate) for pair in pairs])),)


def _si_snr(references, estimates):
    """In dB of each reference and estimate, neither constant: `(references, estimates)`."""
    references, estimates = (x - x.mean(axis=1, keepdims=True) for x in (references, estimates))
    powers = np.square(references).sum(axis=1)[:, None, None]
    targets = (references @ estimates.T)[..., None] / powers * references[:, None]
    with np.errstate(divide="ignore"):
        signal = 10 * np.log10(np.square(targets).sum(axis=-1))
        noise = 10 * np.log10(np.square(estimates - targets).sum(axis=-1))
    return np.clip(signal - noise, -_MOST_DB, _MOST_DB)


def _sdr(references, estimates):
    """In dB of each reference and estimate: `(references, estimates)`."""
    from fast_bss_eval.numpy import sdr_loss

    # Which takes signals of a norm below 1e-6 for silence.
    references, estimates = (x / np.abs(x).max(axis=1)[:, None] for x in (references, estimates))
    try:
        return -sdr_loss(estimates, references, _FILTER_LENGTH, clamp_db=_MOST_DB, pairwise=True)
    except np.linalg.LinAlgError:
        raise _UndefinedError("a reference whose delayed copies are linearly dependent") from None


def _stoi(reference, estimate, sample_rate):
    from pystoi import stoi

    problem = "fewer than 30 frames (0.4 s) that are not silent"
    if len(reference) < _STOI_SECONDS * sample_rate:
        raise _UndefinedError(problem)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames")
        try:
            return stoi(reference, estimate, sample_rate)
        except RuntimeWarning:
            raise _UndefinedError(problem) from None


def _pesq(reference, estimate, sample_rate):
    from pesq import PesqError, pesq

    rate = _pesq_rate(sample_rate)
    parts = -(-len(reference) // int(_PESQ_SECONDS * sample_rate))
    pair = (
        np.array_split(audio.resample(waveform, sample_rate, rate), parts)
        for waveform in (reference, estimate)
    )
    try:
        return np.mean(
            [pesq(rate, *part, "wb" if rate == 16000 else "nb") for part in zip(*pair, strict=True)]
        )
    except PesqError as error:
        reason = error.args[0]
        reason = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise _UndefinedError(reason[0].lower() + reason[1:]) from None
