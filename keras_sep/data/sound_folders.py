"""Folders of sounds by class, and their splits."""

import hashlib
import os
from pathlib import Path

from keras_sep.data.arguments import check_folder
from keras_sep.data.corpus import find_audio

SPLITS = ("train", "valid", "test")
# Of a folder without splits every tenth file is for the test, every tenth for validation.
_SHARE = 10


def split_sounds(folder: str | os.PathLike) -> dict[str, dict[str, list[Path]]]:
    """The files of a folder of sounds: `{"train": {class: [file, …]}, "valid": …, "test": …}`.

    Args:
        folder: Holds `<class>/**/*.{wav,flac,ogg,mp3}`, or `train/<class>/…`, `valid/<class>/…`
            and `test/<class>/…`. Without these every tenth file of a class, one at least, is for
            validation and every tenth for the test, by a hash of its name.

    Raises:
        ValueError: There is no such folder; there are fewer than two classes; a class has no file
            in a split, or, without splits, fewer than three files.
    """
    folder = check_folder("folder", folder)
    if all((folder / split).is_dir() for split in SPLITS):
        splits = {split: _by_class(folder / split) for split in SPLITS}
    else:
        splits = {split: {} for split in SPLITS}
        for name, files in _by_class(folder).items():
            if len(files) < 3:
                raise ValueError(
                    f"each class of `folder` must have at least 3 files, one a split; "
                    f"{folder / name} has {len(files)}."
                )
            for split, part in zip(SPLITS, _split(folder, files), strict=True):
                splits[split][name] = part
    if len(splits["train"]) < 2:
        raise ValueError(
            f"`folder` must hold at least two folders with audio, one a class; {folder} has "
            f"{len(splits['train'])}."
        )
    for split, classes in splits.items():
        if different := classes.keys() ^ splits["train"].keys():
            raise ValueError(
                f"the splits of `folder` must have the same classes; {folder / split} and "
                f"{folder / 'train'} differ by {', '.join(sorted(different))}."
            )
    return splits


def _by_class(folder):
    classes = {}
    for file in find_audio(folder):
        if file.parent != folder:
            classes.setdefault(file.relative_to(folder).parts[0], []).append(file)
    return dict(sorted(classes.items()))


def _split(folder, files):
    """Training, validation and test files: by rank, so that each gets its share."""

    def place(file):
        return hashlib.sha256(file.relative_to(folder).as_posix().encode()).hexdigest()

    ranked = sorted(files, key=place)
    share = max(len(files) // _SHARE, 1)
    return ranked[2 * share :], ranked[:share], ranked[share : 2 * share]
