"""Folders of synthetic recordings."""

import pytest
from synthetic_voices import noise, write


@pytest.fixture(scope="session")
def voices(tmp_path_factory):
    """Four speakers, one in each format, files longer and shorter than the segments, one nested."""
    folder = tmp_path_factory.mktemp("voices")
    for speaker, suffix in enumerate(["wav", "flac", "ogg", "mp3"]):
        for i, seconds in enumerate([0.2, 0.3, 1.5]):
            name = f"{'session/' * (i % 2)}{i}.{suffix}"
            write(folder / f"speaker{speaker}" / name, noise(seconds, 10 * speaker + i))
    return folder


@pytest.fixture(scope="session")
def noises(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noises")
    write(folder / "a.wav", noise(0.2, 100))
    write(folder / "street" / "b.flac", noise(3, 101))
    return folder
