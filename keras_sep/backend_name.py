"""The name of Keras's backend, without the import of Keras, which takes a second."""

import json
import os
import sys
from pathlib import Path


def backend_name() -> str:
    """What `keras.config.backend()` says, or will say once Keras is imported."""
    if "keras" in sys.modules:
        import keras

        return keras.config.backend()
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        return json.loads((Path(home).expanduser() / "keras.json").read_text()).get(
            "backend", "tensorflow"
        )
    except (OSError, ValueError, AttributeError):
        return "tensorflow"
