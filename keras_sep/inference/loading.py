"""Separators from files. Nothing in a file is executed: Keras's safe mode stays on."""

import json
import zipfile
from pathlib import Path

from keras_sep.inference.bundled import bundled_model

_EXPECTED = "give a .keras file or a SavedModel folder of a keras_sep separator"


def load_separator(path: Path | None):
    """Loads a separator.

    Args:
        path: A `.keras` file; a SavedModel, `<name>/<version>`; the folder of its versions,
            `<name>`, for the newest; the folder of a run; None for the bundled model.

    Returns:
        The model, with attributes `num_sources` and `sample_rate`.

    Raises:
        ValueError: One line, if there is no such model.
    """
    if path is None:
        import keras

        path = bundled_model(keras.config.backend())
    if (path / "best.keras").is_file():
        path = path / "best.keras"
    if path.is_dir():
        return _load_saved_model(path)
    # Before Keras's slow import.
    name, config = _read_archive(path)
    if not (_is_ours(name) and {"num_sources", "sample_rate"} <= config.keys()):
        raise ValueError(f"model {path} is a {name}, not a separator; {_EXPECTED}")
    return _load_archive(path)


def load_model(path: Path):
    """Loads a `.keras` file of any model of keras_sep.

    Raises:
        ValueError: One line, if there is no such model.
    """
    name, _ = _read_archive(path)
    if not _is_ours(name):
        raise ValueError(f"model {path} is a {name}, not a model of keras_sep")
    return _load_archive(path)


def _is_ours(name):
    return name.startswith("keras_sep>")


def _load_archive(path):
    if path.suffix != ".keras":
        raise ValueError(f"model {path} must have the suffix .keras; rename it")
    import keras

    import keras_sep.models  # noqa: F401 (registers the classes)

    try:
        return keras.saving.load_model(path, compile=False)
    # Whatever a damaged file brings forth: h5py, zipfile and Keras have no common error.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"model {path} cannot be loaded: {reason}") from error


def _read_archive(path):
    """Name and configuration of the model in a file; Keras would take other files too."""
    if not path.exists():
        raise ValueError(f"model {path} does not exist; {_EXPECTED}")
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        return str(config["registered_name"] or config["class_name"]), dict(config["config"])
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        raise ValueError(f"model {path} is not a .keras file; {_EXPECTED}") from None


def newest_version(path: Path) -> Path:
    """The SavedModel `path`, or the one of the highest number in it.

    Raises:
        ValueError: There is none.
    """
    if (path / "saved_model.pb").is_file():
        return path
    versions = [folder for folder in path.iterdir() if folder.name.isdecimal()]
    if not versions:
        raise ValueError(f"model folder {path} holds no SavedModel; {_EXPECTED}")
    return max(versions, key=lambda folder: int(folder.name))


def _load_saved_model(path):
    path = newest_version(path)
    from keras_sep.export import load_saved_model

    return load_saved_model(path)
