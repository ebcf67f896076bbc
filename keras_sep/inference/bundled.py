"""The model that comes with the package."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

# The wheel puts saved_models into the package; in a checkout it lies beside it.
FOLDERS = (_PACKAGE / "saved_models", _PACKAGE.parent / "saved_models")
NAME = "conv_tasnet_8k"


def bundled_model(backend: str) -> Path:
    """Path of the bundled separator: its SavedModel for TensorFlow, else its `.keras` twin.

    Raises:
        ValueError: It is not there.
    """
    for folder in FOLDERS:
        saved_model, archive = folder / NAME, folder / NAME / f"{NAME}.keras"
        if archive.is_file():
            return saved_model if backend == "tensorflow" else archive
    raise ValueError(
        f"the bundled model {NAME} is not in {' nor '.join(map(str, FOLDERS))}; "
        "install keras_sep again, or give a model"
    )
