"""Checks of constructor arguments."""

import math
import numbers
import os
import zlib
from pathlib import Path


def is_finite(value: object) -> bool:
    """Whether it is a number other than NaN and infinity."""
    return isinstance(value, numbers.Real) and math.isfinite(value)


def check_integer(name: str, value: int, minimum: int, maximum: float = math.inf) -> None:
    """Raises a `ValueError` that names the argument unless it is an integer in the range."""
    valid = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not valid or not minimum <= value <= maximum:
        bound = f">= {minimum}" if maximum == math.inf else f"from {minimum} to {maximum}"
        raise ValueError(f"`{name}` must be an integer {bound}, got {value!r}.")


def check_range(
    name: str, value: tuple[float, float], above: float = -math.inf, maximum: float = math.inf
) -> tuple[float, float]:
    """The range as a tuple; a `ValueError` names the argument if it is none within the bounds."""
    try:
        low, high = value
        valid = is_finite(low) and is_finite(high) and above < low <= high <= maximum
    except (TypeError, ValueError):
        valid = False
    if not valid:
        bound = "" if above == -math.inf else f" above {above:g}"
        bound += "" if maximum == math.inf else f" and up to {maximum:g}"
        raise ValueError(f"`{name}` must be (low, high){bound} with low <= high, got {value!r}.")
    return (low, high)


def check_folder(name: str, value: str | os.PathLike) -> Path:
    """The folder; a `ValueError` names the argument if there is none."""
    try:
        folder = Path(value)
    except TypeError:
        raise ValueError(f"`{name}` must be a path, got {value!r}.") from None
    if not folder.is_dir():
        raise ValueError(f"`{name}` must be an existing folder, got {value!r}.")
    return folder


def check_split(validation_split: float, subset: str | None) -> None:
    """Raises a `ValueError` unless the two go together."""
    if not is_finite(validation_split) or not 0 <= validation_split < 1:
        raise ValueError(
            f"`validation_split` must be at least 0 and below 1, got {validation_split!r}."
        )
    if subset not in (("training", "validation") if validation_split else (None,)):
        raise ValueError(
            '`subset` must be "training" or "validation" where there is a `validation_split`, '
            f"and None without, got subset={subset!r}, validation_split={validation_split!r}."
        )


def in_subset(name: str, validation_split: float, subset: str | None) -> bool:
    """Whether the file of this name belongs to a subset: by a hash, the same for all time."""
    if not validation_split:
        return True
    position = zlib.crc32(name.encode()) / 2**32
    return (position < validation_split) == (subset == "validation")
