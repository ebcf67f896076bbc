"""Models from files. Nothing in a file is executed: Keras's safe mode stays on."""

import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from keras_sep.backend_name import backend_name
from keras_sep.inference.bundled import CLASSIFIER, SEPARATOR, bundled_model


@dataclass(frozen=True)
class _Kind:
    """A kind of model: its name, the bundled one, and what its configuration must hold."""

    name: str
    bundled: str
    config: frozenset[str]

    @property
    def expected(self):
        return f"give a .keras file or a SavedModel folder of a keras_sep {self.name}"


_SEPARATOR = _Kind("separator", SEPARATOR, frozenset({"num_sources", "sample_rate"}))
_ANY = _Kind("model", SEPARATOR, frozenset())
_CLASSIFIER = _Kind("sound classifier", CLASSIFIER, frozenset({"class_names"}))


def load_separator(path: Path | None, dtype: str | None = None):
    """Loads a separator.

    Args:
        path: A `.keras` file; a SavedModel, `<name>/<version>`; the folder of its versions,
            `<name>`, for the newest; the folder of a run; None for the bundled model.
        dtype: Of the computation, "float32" or "bfloat16" with weights in float32; None for what
            the file says. A SavedModel has only its own.

    Returns:
        The model, with attributes `num_sources` and `sample_rate`.

    Raises:
        ValueError: One line, if there is no such model.
    """
    if dtype not in (None, "float32", "bfloat16"):
        raise ValueError(f'dtype must be "float32" or "bfloat16", got {dtype!r}')
    model = _load(path, _SEPARATOR, archive=dtype is not None)
    if not isinstance(model, Path):
        return model if dtype is None else _in_dtype(model, dtype)
    if dtype is not None:
        raise ValueError(f"the SavedModel {model} has a dtype of its own; give a .keras file")
    from keras_sep.export import load_saved_model

    return load_saved_model(model)


def _in_dtype(model, dtype):
    """A model of the same weights that computes in another dtype."""
    from keras_sep.layers.backend_programs import filled

    policy = "mixed_bfloat16" if dtype == "bfloat16" else dtype

    def build():
        copy = type(model).from_config({**model.get_config(), "dtype": policy})
        copy.build((None, None))
        return copy

    return filled(build, lambda copy: copy.set_weights(model.get_weights()))


def load_classifier(path: Path | None):
    """Loads a sound classifier; the argument and errors are those of `load_separator`.

    Returns:
        The model, with attributes `class_names`, `sample_rate`, `patch_samples` and
        `patch_hop_samples`.
    """
    model = _load(path, _CLASSIFIER)
    if not isinstance(model, Path):
        return model
    from keras_sep.export import LoadedClassifier

    return LoadedClassifier(model)


def load_model(path: Path):
    """Loads the `.keras` file of any model of keras_sep; the errors are those of `load_separator`.

    Of a SavedModel's folder it returns the path of the newest version.
    """
    return _load(path, _ANY)


def _load(path, kind, archive=False):
    """The model of a `.keras` file, or the path of a SavedModel; `archive` of the bundled one."""
    if path is None:
        saved_model = backend_name() == "tensorflow" and not archive
        path = bundled_model(kind.bundled, saved_model)
    if (path / "best.keras").is_file():
        path = path / "best.keras"
    if path.is_dir():
        return newest_version(path, kind.expected)
    if not path.exists():
        raise ValueError(f"model {path} does not exist; {kind.expected}")
    # Keras would take other files too, so look before it does, and before its slow import.
    _check_archive(path, kind)
    import keras_sep.models  # noqa: F401 (registers the classes)

    try:
        return _read_archive(path)
    # Whatever a damaged file brings forth: h5py, zipfile and Keras have no common error.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"model {path} cannot be loaded: {reason}") from error


def _read_archive(path):
    """As `keras.saving.load_model`, without values from initializers where those take time."""
    import keras

    from keras_sep.layers.backend_programs import filled

    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        config = {**json.loads(archive.read("config.json")), "compile_config": None}
        weights = archive.extract("model.weights.h5", folder)
        return filled(
            lambda: keras.saving.deserialize_keras_object(config, safe_mode=True),
            lambda model: model.load_weights(weights),
        )


def _check_archive(path, kind):
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        name = str(config["registered_name"] or config["class_name"])
        config = config["config"]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        raise ValueError(f"model {path} is not a .keras file; {kind.expected}") from None
    is_of_kind = isinstance(config, dict) and kind.config <= config.keys()
    if not name.startswith("keras_sep>") or not is_of_kind:
        raise ValueError(f"model {path} is a {name}, not a {kind.name}; {kind.expected}")
    if path.suffix != ".keras":
        raise ValueError(f"model {path} must have the suffix .keras; rename it")


def newest_version(path: Path, expected: str = _SEPARATOR.expected) -> Path:
    """The SavedModel `path`, or the one of the highest number in it.

    Raises:
        ValueError: There is none.
    """
    if (path / "saved_model.pb").is_file():
        return path
    versions = [folder for folder in path.iterdir() if folder.name.isdecimal()]
    if not versions:
        raise ValueError(f"model folder {path} holds no SavedModel; {expected}")
    return max(versions, key=lambda folder: int(folder.name))
