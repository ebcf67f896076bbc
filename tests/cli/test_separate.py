"""`keras-sep separate`: paths on stdout, one clear line on stderr, exit codes."""

import os
import pickle
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import soundfile
from fake_separators import noise

from keras_sep.cli import main
from keras_sep.export import export_saved_model
from keras_sep.models import ConvTasNet

SMALL = {"filters": 16, "bottleneck_dim": 8, "hidden_dim": 8, "skip_dim": 8, "num_blocks": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.keras"
    keras.utils.set_random_seed(0)
    separator = ConvTasNet(num_repeats=1, **SMALL)
    separator.build((None, None))
    separator.save(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process: exit code, lines on stdout, lines on stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-sep", "separate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out.splitlines(), err.splitlines()

    return run


def write(path, waveform, rate=8000, **kwargs):
    soundfile.write(path, waveform, rate, **kwargs)
    return path


def test_writes_into_the_default_folder(run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.wav", noise(3000))
    expected = [f"separated/a_source{n}.wav" for n in (1, 2)]
    assert run("a.wav", "--model", model) == (0, expected, [])
    assert [soundfile.info(path).frames for path in expected] == [3000, 3000]


def test_a_saved_model(run, model, tmp_path):
    export_saved_model(keras.saving.load_model(model), tmp_path / "served" / "3")
    path = write(tmp_path / "a.wav", noise(3000))
    for number, source in enumerate((tmp_path / "served", tmp_path / "served" / "3")):
        code, out, err = run(path, "--model", source, "-o", tmp_path / str(number))
        assert (code, len(out), err) == (0, 2, [])


def test_options_reach_the_files_and_losses_are_said(run, model, tmp_path):
    path = write(tmp_path / "a.flac", noise(30001, 2), 48000)
    options = ["--model", model, "-o", tmp_path, "--channels", "each", "--subtype", "FLOAT"]
    code, out, err = run(path, *options, "--chunk-seconds", 0.2)
    assert code == 0
    info = soundfile.info(out[0])
    assert (info.channels, info.subtype, info.frames, info.samplerate) == (2, "FLOAT", 30001, 48000)
    assert len(err) == 1
    assert err[0].startswith("keras-sep: ")
    assert "resampled 48000 → 8000 Hz and back" in err[0]
    code, out, err = run(path, *options[:4], "--overwrite")
    assert code == 0
    assert "2 channels mixed down to one" in err[1]


@pytest.mark.parametrize(
    "waveform", [np.zeros(1), np.ones(1), np.zeros(5000)], ids=["zero", "one", "silence"]
)
def test_one_sample_and_silence(run, model, tmp_path, waveform):
    path = write(tmp_path / "a.wav", waveform)
    code, out, err = run(path, "--model", model, "-o", tmp_path)
    assert (code, err) == (0, [])
    assert soundfile.info(out[0]).frames == len(waveform)


def test_the_good_files_of_several_are_separated(run, model, tmp_path):
    waveform = noise(20000)
    waveform[19000] = np.nan
    files = [
        tmp_path / "missing.wav",
        write(tmp_path / "good.wav", noise(1000)),
        tmp_path,
        write(tmp_path / "nan.wav", waveform, subtype="FLOAT"),
        write(tmp_path / "good2.wav", noise(1000)),
    ]
    code, out, err = run(*files, "--model", model, "-o", tmp_path / "out")
    assert code == 2
    written = [f"good_source{n}.wav" for n in (1, 2)] + [f"good2_source{n}.wav" for n in (1, 2)]
    assert out == [str(tmp_path / "out" / name) for name in written]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(written)
    assert [line[:11] for line in err] == ["keras-sep: "] * 3
    for line, message in zip(err, ["does not exist", "is a folder", "has NaN"], strict=True):
        assert message in line


def assert_one_line(result, *messages):
    code, out, err = result
    assert (code, out, len(err)) == (2, [], 1), result
    assert err[0].startswith("keras-sep: ")
    for message in messages:
        assert message in err[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", "does not exist"),
        ("folder", "is a folder"),
        ("text.wav", "is not audio"),
        ("bytes.wav", "is empty (0 bytes)"),
        ("none.wav", "has no samples"),
        ("nan.wav", "has NaN or infinite samples"),
        ("inf.wav", "has NaN or infinite samples"),
    ],
)
def test_input_that_cannot_be_separated(run, model, tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "bytes.wav").touch()
    write(tmp_path / "none.wav", noise(0))
    write(tmp_path / "nan.wav", np.array([0.0, np.nan]), subtype="FLOAT")
    write(tmp_path / "inf.wav", np.array([0.0, -np.inf]), subtype="FLOAT")
    out = tmp_path / "out"
    assert_one_line(run(tmp_path / name, "--model", model, "-o", out), message, name)
    assert not out.exists() or not list(out.iterdir())


class Dangerous:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.keras", "does not exist"),
        ("text.keras", "is not a .keras file"),
        ("pickle.keras", "is not a .keras file"),
        ("dense.keras", "is a Sequential, not a separator"),
        ("folder", "holds no SavedModel"),
    ],
)
def test_a_model_of_another_kind(run, tmp_path, name, message):
    (tmp_path / "text.keras").write_text("weights")
    (tmp_path / "pickle.keras").write_bytes(pickle.dumps(Dangerous()))
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    (tmp_path / "folder").mkdir()
    path = write(tmp_path / "a.wav", noise(1000))
    out = tmp_path / "out"
    assert_one_line(run(path, "--model", tmp_path / name, "-o", out), message, name)
    assert not out.exists()


def test_outputs_that_exist_are_kept(run, model, tmp_path):
    path = write(tmp_path / "a.wav", noise(1000))
    for number in (1, 2):
        output = tmp_path / f"a_source{number}.wav"
        output.write_text("mine")
        result = run(path, "--model", model, "-o", tmp_path)
        assert_one_line(result, f"{output} exists", "overwrite")
        assert output.read_text() == "mine"
        output.unlink()


def test_an_output_folder_that_cannot_be(run, model, tmp_path):
    path = write(tmp_path / "a.wav", noise(1000))
    result = run(path, "--model", model, "-o", path / "below")
    assert_one_line(result, "cannot write to", "is a file")


def test_an_output_folder_without_permission(run, model, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(1000))
    # Root may write everywhere, so the system's answer is put in its place.
    monkeypatch.setattr(os, "access", lambda folder, mode: str(folder) != str(tmp_path))
    result = run(path, "--model", model, "-o", tmp_path / "out")
    assert_one_line(result, "cannot write to", "no permission")


def test_a_full_disk(run, model, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(1000))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    assert_one_line(run(path, "--model", model, "-o", tmp_path / "out"), "No space left")
    assert list((tmp_path / "out").iterdir()) == []


def test_outputs_that_would_replace_each_other_or_inputs(run, model, tmp_path):
    (tmp_path / "b").mkdir()
    first = write(tmp_path / "a.wav", noise(1000))
    same_name = write(tmp_path / "b" / "a.flac", noise(1000))
    assert_one_line(run(first, same_name, "--model", model, "-o", tmp_path / "out"), "named a")
    output = write(tmp_path / "a_source1.wav", noise(1000))
    result = run(first, output, "--model", model, "-o", tmp_path, "--overwrite")
    assert_one_line(result, "would replace", "a_source1.wav")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channels", "left"], "--channels must be one of mix, each"),
        (["--subtype", "MP3"], "--subtype must be one of PCM_16, PCM_24, FLOAT"),
        (["--chunk-seconds", "-1"], "chunk_seconds"),
        (["--dtype", "float8"], 'dtype must be "float32" or "bfloat16"'),
    ],
)
def test_options_out_of_range(run, model, tmp_path, arguments, message):
    path = write(tmp_path / "a.wav", noise(1000))
    result = run(path, "--model", model, "-o", tmp_path / "out", *arguments)
    assert_one_line(result, message)


@pytest.mark.parametrize(("name", "message"), [("foo", "tensorflow, jax, torch"), ("", None)])
def test_backend_names(run, model, tmp_path, monkeypatch, name, message):
    monkeypatch.setenv("KERAS_BACKEND", name)
    path = write(tmp_path / "a.wav", noise(1000))
    result = run(path, "--model", model, "-o", tmp_path / "out")
    if message:
        assert_one_line(result, "KERAS_BACKEND=foo is not a backend", message)
    else:
        assert result[0] == 0


def test_a_backend_that_is_not_installed(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_one_line(run(tmp_path, "--model", model), "pip install 'keras-sep[jax]'")


def in_child(code, **environment):
    environment = {**os.environ, **environment}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # importing TensorFlow has set it here
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(*arguments, before="", after=""):
    """Code that runs the command."""
    argv = ["keras-sep", *map(str, arguments)]
    return (
        f"import sys\nsys.argv = {argv!r}\nfrom keras_sep.cli import main\n{before}\n"
        f"try:\n    main()\nfinally:\n    {after or 'pass'}\n"
    )


def test_a_whole_run_says_nothing_but_the_paths(model, tmp_path):
    path = write(tmp_path / "a.wav", noise(3000))
    child = in_child(command("separate", path, "--model", model, "-o", tmp_path))
    out, err = child.communicate()
    assert (child.returncode, err) == (0, "")
    assert out.splitlines() == [str(tmp_path / f"a_source{n}.wav") for n in (1, 2)]


def test_help_and_bad_input_come_before_keras(tmp_path):
    check = "assert not {'keras', 'tensorflow', 'jax', 'torch'} & sys.modules.keys()"
    for arguments, code, environment in [
        (["--help"], 0, {}),
        (["separate", tmp_path / "missing.wav"], 2, {}),
        (["separate", tmp_path / "missing.wav"], 2, {"KERAS_BACKEND": "foo"}),
    ]:
        child = in_child(command(*arguments, after=check), **environment)
        _, err = child.communicate()
        assert child.returncode == code
        assert err.count("\n") == code / 2, err


def test_ctrl_c_leaves_no_half_written_file(tmp_path):
    write(tmp_path / "a.wav", noise(8000 * 60))
    # Waits in its second chunk, when the outputs have been begun.
    before = """
import signal
import keras_sep.inference.separator
from fake_separators import HalfWaves

class Waiting(HalfWaves):
    def __call__(self, mixture):
        if self.lengths:
            print("waiting", flush=True)
            signal.pause()
        return super().__call__(mixture)

keras_sep.inference.separator.load_separator = lambda path, dtype: Waiting(8000)
"""
    code = command("separate", tmp_path / "a.wav", "-o", tmp_path / "out", before=before)
    path = os.pathsep.join(sys.path)
    child = in_child(code, PYTHONPATH=path)
    assert child.stdout.readline() == "waiting\n"
    assert len(list((tmp_path / "out").glob(".keras_sep-*/a_source*.wav"))) == 2
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert (child.returncode, out, err) == (130, "", "")
    assert list((tmp_path / "out").iterdir()) == []
