"""The backend's name against Keras's own rules."""

import sys

import keras
import pytest

from keras_sep.backend_name import backend_name


def test_it_is_what_keras_says_once_it_is_imported(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "other")
    assert backend_name() == keras.config.backend()


@pytest.mark.parametrize(
    ("variable", "settings", "expected"),
    [
        ("torch", '{"backend": "jax"}', "torch"),
        ("", '{"backend": "jax"}', "jax"),
        ("", "{}", "tensorflow"),
        ("", "no JSON", "tensorflow"),
        ("", None, "tensorflow"),
    ],
)
def test_before_keras_is_imported(variable, settings, expected, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if settings is not None:
        (tmp_path / "keras.json").write_text(settings)
    assert backend_name() == expected
