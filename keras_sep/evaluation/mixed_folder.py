"""Data sets of mixtures that are files already."""

import os
from pathlib import Path

import numpy as np

from keras_sep.data import audio, corpus
from keras_sep.evaluation.example import Example


class MixedFolder:
    """A folder of mixtures with folders of their sources beside it, as WSJ0-2mix, LibriMix, WHAM.

    `<set>/mix/`, or `mix_clean`, `mix_both`, `mix_single`, and `<set>/s1/`, `<set>/s2/` …, with
    files of the same names, lengths and rate in all. Of `mix_single` only `s1` is the source.
    `[index]` is an `Example`; there are as many as the mix folder has audio files.

    Args:
        folder: The mix folder, or `<set>` where it holds only one.
        num_sources: Sources that the separator gives.
        sample_rate: Its rate in Hz.
        resample: Whether files of another rate are resampled to it.

    Attributes:
        folder: The mix folder.

    Raises:
        ValueError: There are several mix folders, or not `num_sources` sources; or files are
            missing, unreadable, of another rate, of several channels or of different lengths: up
            to ten are named.
    """

    def __init__(
        self, folder: str | os.PathLike, num_sources: int, sample_rate: int, resample: bool = False
    ):
        self.folder = _mix_folder(Path(folder))
        self.sample_rate = sample_rate
        sources = _source_folders(self.folder)
        if len(sources) != num_sources:
            raise ValueError(
                f"the model gives {num_sources} sources, {self.folder} is of {len(sources)} "
                f"({', '.join(source.name for source in sources)}); use a model of as many"
            )
        mixtures = corpus.find_audio(self.folder)
        if not mixtures:
            raise ValueError(f"{self.folder} has no audio files; give a folder of mixtures")
        names = [path.relative_to(self.folder) for path in mixtures]
        self._files = [[place / name for place in (self.folder, *sources)] for name in names]
        self._check(resample)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Example:
        mixture, *sources = (self._read(path) for path in self._files[index])
        name = self._files[index][0].relative_to(self.folder)
        return Example(str(name), mixture, np.stack(sources))

    def _read(self, path):
        with audio.open_audio(path) as file:
            waveform = audio.read_frames(file)[:, 0]
            return audio.resample(waveform, file.samplerate, self.sample_rate)

    def _check(self, resample):
        paths = [path for files in self._files for path in files]
        recordings, problems = corpus.scan(paths, self.sample_rate, resample)
        for files in self._files:
            headers = [recordings.get(os.fspath(path)) for path in files]
            if None in headers:
                continue
            infos = [header.info for header in headers]
            problems += [
                f"{info.path} has {info.channels} channels; mix it down to one."
                for info in infos
                if info.channels > 1
            ]
            problems += [
                f"{info.path} has {info.frames} samples at {info.sample_rate} Hz, its mixture "
                f"{infos[0].frames} at {infos[0].sample_rate} Hz; they must be the same."
                for info in infos
                if (info.frames, info.sample_rate) != (infos[0].frames, infos[0].sample_rate)
            ]
        if problems:
            raise ValueError(f"{self.folder} cannot be used:" + corpus.describe_problems(problems))


def is_mixed(folder: Path) -> bool:
    """Whether a folder has mix folders, or is one."""
    return _is_mix(folder) or bool(_mix_folders(folder))


def _is_mix(folder):
    return folder.name == "mix" or folder.name.startswith("mix_")


def _mix_folders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_mix(path))


def _mix_folder(folder):
    found = [folder] if _is_mix(folder) else _mix_folders(folder)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{folder} must have one mix folder, has {names}; give the one you mean")
    return found[0]


def _source_folders(mix):
    """`s1`, `s2` … beside a mix folder."""
    sources = []
    while (source := mix.parent / f"s{len(sources) + 1}").is_dir():
        sources.append(source)
    if not sources:
        raise ValueError(f"{mix} must have its sources beside it, in {mix.parent / 's1'} and so on")
    return sources[:1] if mix.name == "mix_single" else sources
