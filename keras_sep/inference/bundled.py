"""The models that come with the package."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

# The wheel puts saved_models into the package; in a checkout it lies beside it.
FOLDERS = (_PACKAGE / "saved_models", _PACKAGE.parent / "saved_models")
SEPARATOR = "conv_tasnet_8k"
CLASSIFIER = "sound_classifier_16k"


def bundled_model(name: str, saved_model: bool) -> Path:
    """Path of a bundled model: the folder of its SavedModel, or its `.keras` twin.

    Raises:
        ValueError: It is not there.
    """
    for folder in FOLDERS:
        archive = folder / name / f"{name}.keras"
        if archive.is_file():
            return archive.parent if saved_model else archive
    raise ValueError(
        f"the bundled model {name} is not in {' nor '.join(map(str, FOLDERS))}; "
        "install keras_sep again, or give a model"
    )


def bundled_folder(name: str) -> Path:
    """Folder of a bundled model of several files.

    Raises:
        ValueError: It is not there.
    """
    for folder in FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise ValueError(
        f"the bundled model {name} is not in {' nor '.join(map(str, FOLDERS))}; "
        "install keras_sep again, or give a folder"
    )
