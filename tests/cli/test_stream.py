"""`keras-sep separate --stream -` against the whole recording."""

import io
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_sep.cli import main
from keras_sep.models import ConvTasNet


class Slow(io.BytesIO):
    """Gives odd numbers of bytes at a time."""

    def read1(self, size=-1):
        return self.read(min(size, 1234 + 567 * (self.tell() % 2)) | 1)


def save(path, **arguments):
    sizes = {"filters": 8, "bottleneck_dim": 4, "hidden_dim": 8, "skip_dim": 4}
    model = ConvTasNet(**sizes, num_blocks=2, num_repeats=1, **arguments)
    model.build((None, None))
    model.save(path)
    return model


def run(monkeypatch, *arguments, stdin=b""):
    """Exit code and what was written to stdout."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["keras-sep", "separate", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Slow(stdin)))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
    # TextIOWrapper closes what it wraps when it goes.
    monkeypatch.setattr(out, "close", lambda: None, raising=False)
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0, out.getvalue()


@pytest.mark.parametrize("loud", [False, True])
def test_stream_equals_the_whole(loud, tmp_path, monkeypatch, capfd):
    model = save(tmp_path / "causal.keras", causal=True, normalization="cumulative")
    if loud:
        model.decoder.kernel.assign(1000 * model.decoder.kernel)
        model.save(tmp_path / "causal.keras")
    samples = np.random.default_rng(0).integers(-10_000, 10_000, 4000).astype("<i2")
    arguments = ["--stream", "-", "--model", tmp_path / "causal.keras"]
    code, out = run(monkeypatch, *arguments, stdin=samples.tobytes())
    assert code == 0
    sources = np.frombuffer(out, "<i2").reshape(-1, 2).T
    whole = model(samples[None].astype("float32") / 32768, training=False)
    expected = np.clip(keras.ops.convert_to_numpy(whole)[0] * 32768, -32768, 32767)
    np.testing.assert_allclose(sources, expected, atol=1.5)
    notices = capfd.readouterr().err
    assert "16-bit samples at 8000 Hz; 2 channels come out" in notices
    assert ("were clipped" in notices) == loud


def start(model):
    arguments = ["separate", "--stream", "-", "--model", str(model)]
    return subprocess.Popen(
        [sys.executable, "-c", "from keras_sep.cli import main; main()", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # What is read ahead is lost to `communicate`.
    )


def test_ctrl_c_ends_the_stream_and_loses_nothing(tmp_path):
    save(tmp_path / "causal.keras", causal=True, normalization="layer")
    child = start(tmp_path / "causal.keras")
    child.stdin.write(np.ones(1001, "<i2").tobytes())
    first = child.stdout.read(4)
    child.send_signal(signal.SIGINT)
    rest, notices = child.communicate(timeout=60)
    assert len(first + rest) == 2 * 2 * 1001
    assert b"Traceback" not in notices
    assert child.returncode == 0


def test_who_listens_may_go(tmp_path):
    save(tmp_path / "causal.keras", causal=True, normalization="layer")
    child = start(tmp_path / "causal.keras")
    child.stdout.close()
    child.stdin.write(np.ones(1001, "<i2").tobytes())
    child.stdin.close()
    assert child.wait(timeout=60) == 0
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stream", "-"], "--stream needs a causal model"),
        (["--stream", "a.wav"], "give - as the file"),
        (["--stream", "-", "--dtype", "bfloat16"], "leave --dtype out"),
        (["-"], "give - as the file"),
        (["--stream", "-", "--model", "global.keras"], "only a model with causal=True"),
        (["--stream", "-", "--model", "missing.keras"], "does not exist"),
    ],
)
def test_what_the_user_can_mend(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    save("global.keras")
    capfd.readouterr()  # what TensorFlow says at the first model of a process
    code, out = run(monkeypatch, *arguments)
    assert (code, out) == (2, b"")
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
