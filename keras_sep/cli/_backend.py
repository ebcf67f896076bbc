"""Keras's backend: the right name, installed, and imported without its notices."""

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from keras_sep.backend_name import backend_name
from keras_sep.cli._errors import UserError

BACKENDS = ("tensorflow", "jax", "torch")

# TensorFlow's start-up notices say nothing to somebody who separates a file. Who wants them, sets
# a lower level. oneDNN stays on, as it is.
_QUIET = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
# Level, month and day, or the whole date, as absl's log and TensorFlow's own have it.
_NOTICE = re.compile(
    rb"[IWE]\d{4} [\d:.]+ |\d{4}-\d\d-\d\d [\d:.]+: [IWE] "
    rb"|WARNING: All log messages before absl|To enable the following instructions"
)


def check_backend() -> None:
    """Raises `UserError` if Keras's backend is unknown or not installed; imports nothing."""
    name = os.environ.get("KERAS_BACKEND") or backend_name()
    if name not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={name} is not a backend; set one of {', '.join(BACKENDS)}")
    if importlib.util.find_spec(name) is None:
        raise UserError(
            f"KERAS_BACKEND={name} is not installed; pip install 'keras-sep[{name}]', "
            "or set another backend"
        )


@contextmanager
def quiet_native_code() -> Iterator[None]:
    """Drops the notices of TensorFlow's native code from stderr; all else arrives at the end.

    For imports and loading: the libraries write notices before they look at
    `TF_CPP_MIN_LOG_LEVEL`, past Python, so the file descriptor itself must go elsewhere.
    """
    if not _QUIET:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            said.seek(0)
            for line in said:
                if not _NOTICE.match(line):
                    os.write(2, line)


def import_keras() -> None:
    """Imports Keras and its backend without notices; a command calls this before it computes."""
    with quiet_native_code():
        import keras  # noqa: F401
