"""Folders of recordings: scanning their headers and drawing random segments from them."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sep.data import audio

# Sources are compared by the RMS of their 20 ms frames within 30 dB of the loudest one.
_FRAME_SECONDS = 0.02
_ACTIVE_RANGE = 1e-3
# An RMS under -60 dBFS is background, not a source.
_SILENCE_RMS = 1e-3
_MAX_DRAWS = 100
_HEADER_THREADS = 8
_NAMED_PROBLEMS = 10
# Pauses between the utterances of a speaker that fill a segment, in seconds (0 to this).
_MAX_PAUSE = 0.3
# Names of folders that are taken for splits, where there are no others.
_SPLITS = {"train", "valid", "test", "unseen"}


class Recording(NamedTuple):
    """A usable file and its length at the rate the segments are drawn at, in samples."""

    info: audio.AudioInfo
    samples: int


class Recordings:
    """The recordings of one speaker, or of the noises: an endless stream to cut segments from.

    Args:
        name: The speaker.
        recordings: At least one.
        sample_rate: Rate of the segments in Hz. Files of another rate are resampled.
        max_pause: Where a file is shorter than a segment, the longest pause in seconds before
            the next one is appended.
    """

    def __init__(
        self, name: str, recordings: list[Recording], sample_rate: int, max_pause: float = 0.0
    ):
        self.name = name
        self.recordings = recordings
        self.sample_rate = sample_rate
        self.max_pause = max_pause
        self._ends = np.cumsum([recording.samples for recording in recordings])
        self._damaged: set[str] = set()

    @property
    def seconds(self) -> float:
        return float(self._ends[-1]) / self.sample_rate

    def draw(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """Draws a segment that is not silent (RMS above -60 dBFS).

        Files are drawn with probability proportional to their length, and so is a random place
        in the first one; shorter files follow each other until the segment is full. Files with
        several channels are averaged.

        Returns:
            float32 `(samples,)`.

        Raises:
            AudioError: No sound in 100 draws.
        """
        for _ in range(_MAX_DRAWS):
            segment = self._assemble(rng, samples)
            if segment is not None and is_audible(segment):
                return segment
        raise audio.AudioError(
            f"{self.name}: {_MAX_DRAWS} random segments were silent (below -60 dBFS) or "
            "unreadable; remove these recordings or replace them by audible ones."
        )

    def draw_file(self, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        """Draws a whole file, with probability proportional to its length.

        Returns:
            Its path, and float32 `(samples,)`.

        Raises:
            AudioError: It is damaged.
        """
        recording = self._choose(rng)
        return recording.info.path, self._read(recording, 0, recording.samples)

    def _choose(self, rng):
        position = rng.integers(self._ends[-1])
        return self.recordings[np.searchsorted(self._ends, position, side="right")]

    def _assemble(self, rng, samples):
        """A segment, silent or not; None if a file drawn for it turns out to be damaged."""
        segment = np.zeros(samples, "float32")
        position = 0
        while position < samples:
            recording = self._choose(rng)
            if recording.samples >= samples:
                start = rng.integers(recording.samples - samples + 1)
            elif position == 0:
                # In the midst of an utterance, or every source would set in at sample 0.
                start = rng.integers(recording.samples)
            else:
                start = 0
            try:
                piece = self._read(recording, start, samples - position)
            except audio.AudioError as error:
                if recording.info.path not in self._damaged:
                    self._damaged.add(recording.info.path)
                    warnings.warn(f"{error} Another is drawn in its place.", stacklevel=2)
                return None
            segment[position : position + len(piece)] = piece
            position += len(piece) + int(rng.uniform(0.0, self.max_pause) * self.sample_rate)
        return segment

    def _read(self, recording, start, samples):
        """Up to `samples` samples from `start` on, both counted at `self.sample_rate`."""
        rate = recording.info.sample_rate
        if rate == self.sample_rate:
            return _mono(audio.read_segment(recording.info.path, start, samples))
        ratio = rate / self.sample_rate
        piece = audio.read_segment(
            recording.info.path, int(start * ratio), math.ceil(samples * ratio) + 1
        )
        return audio.resample(_mono(piece), rate, self.sample_rate)[:samples]


def rms(waveform: np.ndarray) -> float:
    """Root mean square of `(samples,)`."""
    return math.sqrt(np.dot(waveform, waveform) / len(waveform))


def is_audible(waveform: np.ndarray) -> bool:
    """Whether `(samples,)` is a source and not background: an RMS above -60 dBFS."""
    return rms(waveform) > _SILENCE_RMS


def active_rms(waveform: np.ndarray, sample_rate: int) -> float:
    """RMS over the 20 ms frames within 30 dB of the loudest: the level of speech, not of pauses.

    Args:
        waveform: `(samples,)`.
        sample_rate: In Hz.
    """
    frame = min(len(waveform), max(1, round(_FRAME_SECONDS * sample_rate)))
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    powers = np.einsum("ij,ij->i", frames, frames) / frame
    return math.sqrt(powers[powers >= _ACTIVE_RANGE * powers.max()].mean())


def find_audio(folder: Path) -> list[Path]:
    """All WAV, FLAC, OGG and MP3 files under a folder, sorted, hidden ones left out."""
    # `rglob` enters no links to folders, but a corpus may be put together of such links.
    paths = [path for top in folder.iterdir() for path in (top, *top.rglob("*"))]
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in audio.AUDIO_SUFFIXES
        and not path.name.startswith(".")
        and not path.is_dir()
    )


def scan(
    paths: Iterable[Path], sample_rate: int, resample: bool
) -> tuple[dict[str, Recording], list[str]]:
    """Reads the headers of files, in parallel.

    Args:
        paths: Files.
        sample_rate: Wanted rate in Hz.
        resample: Whether files of another rate are usable.

    Returns:
        The usable recordings by path, and for every other file a line saying why it is not.
    """

    def examine(path):
        try:
            info = audio.inspect(path)
        except audio.AudioError as error:
            return str(error)
        if info.sample_rate != sample_rate and not resample:
            return (
                f"{path} has {info.sample_rate} Hz instead of {sample_rate} Hz; "
                "resample=True (--resample) uses it."
            )
        samples = int(info.frames * sample_rate / info.sample_rate)
        return Recording(info, samples) if samples else f"{path} is shorter than one sample."

    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        results = list(pool.map(examine, paths))
    recordings = {r.info.path: r for r in results if isinstance(r, Recording)}
    return recordings, [r for r in results if isinstance(r, str)]


def describe_problems(problems: list[str]) -> str:
    """Up to ten of the lines, indented, and the number of the others."""
    lines = [f"\n  {line}" for line in problems[:_NAMED_PROBLEMS]]
    more = len(problems) - _NAMED_PROBLEMS
    return "".join(lines) + (f"\n  and {more} more" if more > 0 else "")


def find_speakers(
    folder: Path,
    num_speakers: int,
    sample_rate: int,
    resample: bool,
    keep: Callable[[Path], bool],
    part: str = "",
) -> tuple[list[Recordings], list[str]]:
    """The speakers of a corpus: the folders in `folder`, sorted by their names.

    Args:
        folder: Holds one folder a speaker.
        num_speakers: Speakers needed.
        sample_rate: Wanted rate in Hz.
        resample: Whether files of another rate are usable.
        keep: Which files to use, given their paths within `folder`.
        part: What `keep` keeps, for the message that it is not enough.

    Returns:
        The speakers, and for every unusable file a line saying why it is not.

    Raises:
        ValueError: There are fewer speakers, or their folders are splits of a corpus.
    """
    paths = find_audio(folder)
    files = [p for p in paths if p.parent != folder and keep(p.relative_to(folder))]
    recordings, unusable = scan(files, sample_rate, resample)
    problems = [f"{p} is not in a speaker's folder." for p in paths if p.parent == folder]
    problems += unusable
    by_speaker: dict[str, list[Recording]] = {}
    for path, recording in recordings.items():
        by_speaker.setdefault(Path(path).relative_to(folder).parts[0], []).append(recording)
    if len(by_speaker) < num_speakers:
        raise ValueError(
            f"`folder` must hold at least num_sources={num_speakers} folders with audio, "
            f"one a speaker; {folder} has {len(by_speaker)} usable{part}."
            + describe_problems(problems)
        )
    if by_speaker.keys() <= _SPLITS:
        raise ValueError(
            f"`folder` must hold one folder a speaker; {folder} holds splits of a corpus, "
            f"{', '.join(sorted(by_speaker))}: give one of them."
        )
    speakers = [
        Recordings(os.fspath(folder / name), files, sample_rate, _MAX_PAUSE)
        for name, files in sorted(by_speaker.items())
    ]
    return speakers, problems


def find_noises(folder: Path, sample_rate: int, resample: bool) -> tuple[Recordings, list[str]]:
    """The recordings of a folder, at any depth, as one; arguments and results as of speakers.

    Raises:
        ValueError: There are none.
    """
    recordings, unusable = scan(find_audio(folder), sample_rate, resample)
    if not recordings:
        raise ValueError(
            f"`noise_folder` must hold audio files; {folder} has none usable."
            + describe_problems(unusable)
        )
    return Recordings(os.fspath(folder), list(recordings.values()), sample_rate), unusable


def _mono(samples):
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
