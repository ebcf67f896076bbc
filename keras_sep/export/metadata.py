"""What a SavedModel of ours notes of its model."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

METADATA = "assets.extra/keras_sep.json"


def read_metadata(
    path: str | os.PathLike,
    kind: str = "separator",
    numbers: Sequence[str] = ("num_sources", "sample_rate"),
) -> dict:
    """What `export_saved_model` notes of the model: class, configuration and `numbers`.

    Raises:
        ValueError: The folder is not such a SavedModel.
    """
    path = Path(path)
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} is not a SavedModel: it holds no saved_model.pb")
    try:
        metadata = json.loads((path / METADATA).read_text())
        metadata["config"].keys()
        for name in numbers:
            metadata[name] = int(metadata[name])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path} is not a SavedModel of a {kind}: {METADATA} is missing or damaged; "
            "write one with keras_sep.export.export_saved_model"
        ) from None
    return metadata
