"""Checkpoints on disk, as PyTorch writes them. They are data: no pickled code is run."""

import importlib.util
import os
import pickle
import re
from pathlib import Path

import numpy as np


def read_checkpoint(path: str | os.PathLike) -> dict:
    """What `torch.save` wrote, with `weights_only=True`; tensors as NumPy arrays.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: The file is missing, damaged, no dictionary, or would run code.
    """
    torch = _torch()
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"checkpoint {path} does not exist or is no file")
    try:
        # asteroid notes the version of PyTorch, a str of a class of its own.
        with torch.serialization.safe_globals([torch.torch_version.TorchVersion]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    # What PyTorch's reader raises on files of another kind: it has no common error.
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            reason = f"it holds a {foreign[1]}, which is no weight"
        else:
            reason = str(error).split("\n")[0][:200]
        raise ValueError(f"checkpoint {path} cannot be read as weights: {reason}") from None
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f"checkpoint {path} must hold a dictionary, got {type(checkpoint).__name__}"
        )
    return _arrays(checkpoint)


def write_checkpoint(checkpoint: dict, path: str | os.PathLike) -> Path:
    """Writes with `torch.save`, NumPy arrays as tensors, beside and then renamed into place.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: The folder does not exist.
    """
    torch = _torch()
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    beside = path.with_name(f".{path.name}.part")
    try:
        torch.save(_tensors(checkpoint, torch), beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _torch():
    if importlib.util.find_spec("torch") is None:
        raise ImportError("checkpoint files need PyTorch: pip install 'keras-sep[torch]'")
    import torch

    return torch


def _arrays(value):
    if isinstance(value, dict):
        return {key: _arrays(entry) for key, entry in value.items()}
    if not hasattr(value, "detach"):
        return value
    # NumPy has no bfloat16.
    return (value.float() if value.is_floating_point() else value).detach().numpy()


def _tensors(value, torch):
    if isinstance(value, dict):
        return {key: _tensors(entry, torch) for key, entry in value.items()}
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
