"""Weights from asteroid and torchaudio, against what their own models gave (see make_fixtures)."""

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from numerics import run

from keras_sep import convert
from keras_sep.cli import main
from keras_sep.convert.files import write_checkpoint
from keras_sep.export import export_saved_model
from keras_sep.models import ConvTasNet

FOLDER = Path(__file__).parent
FIXTURES = FOLDER / "fixtures"
CHECKPOINTS = sorted(FIXTURES.glob("*.pt*"))
# What torchaudio's weights do not tell.
NOT_TOLD = {
    "torchaudio_sigmoid": {"num_blocks": 3},
    "torchaudio_relu": {"num_blocks": 3, "mask_activation": "relu"},
    "torchaudio_long_kernel": {"num_blocks": 3},
}


def fixtures_script():
    spec = importlib.util.spec_from_file_location("make_fixtures", FOLDER / "make_fixtures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convert_fixture(path):
    if path.stem in NOT_TOLD:
        return convert.from_torchaudio(path, **NOT_TOLD[path.stem])
    return convert.from_asteroid(path)


def write_back(model, path):
    return convert.to_asteroid(model) if path.suffix == ".pth" else convert.to_torchaudio(model)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_outputs_equal_the_originals(path):
    script, model = fixtures_script(), convert_fixture(path)
    expected = np.load(path.with_suffix(".npz"))
    shortest = model.kernel_size if model.padding == "valid" else 1
    assert [int(name) for name in expected] == [n for n in script.LENGTHS if n >= shortest]
    for name, samples in expected.items():
        length = int(name)
        sources = run(model, script.mixture(length)[None])[0]
        assert sources.shape == (model.num_sources, length)
        kept = sources[:, script.positions(length)]
        # GELU and its approximation by tanh differ by more.
        np.testing.assert_allclose(kept, samples, rtol=0, atol=1e-5 * np.abs(samples).max())


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_what_is_written_back_is_what_was_read(path, tmp_path):
    original, model = convert.read_checkpoint(path), convert_fixture(path)
    written = write_back(model, path)
    if path.suffix == ".pth":
        again = convert.from_asteroid(written)
        assert again.get_config() | {"name": ""} == model.get_config() | {"name": ""}
        for name, value in written["model_args"].items():
            if name != "fb_name":
                assert original["model_args"][name] in (value, None if value == 0 else value), name
        original, written = original["state_dict"], written["state_dict"]
    assert written.keys() == original.keys()
    unused = f"masker.TCN.{len(model.separator.blocks) - 1}.res_conv"
    for name, value in original.items():
        if not (name.startswith(unused) and model.skip_dim is not None):
            np.testing.assert_array_equal(written[name], value, err_msg=name)


def test_a_model_trained_here_goes_there_and_back(tmp_path):
    sizes = {"bottleneck_dim": 4, "hidden_dim": 6, "skip_dim": 4, "num_blocks": 1}
    model = ConvTasNet(3, 16000, 8, **sizes, num_repeats=1)
    model.build((None, None))
    convert.to_torchaudio(model, tmp_path / "there.pt")
    convert.to_asteroid(model, tmp_path / "there.pth")
    assert {path.name for path in tmp_path.iterdir()} == {"there.pt", "there.pth"}
    back = convert.from_torchaudio(tmp_path / "there.pt", num_blocks=1, sample_rate=16000)
    mixture = np.random.default_rng(0).normal(size=(1, 100)).astype("float32")
    np.testing.assert_allclose(run(back, mixture), run(model, mixture), atol=1e-6)
    back = convert.from_asteroid(tmp_path / "there.pth")
    assert (back.sample_rate, back.num_sources, back.padding) == (16000, 3, "valid")


def assert_equal_weights(ours, theirs):
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))


def test_arguments_mean_what_they_do_in_asteroid():
    whole = convert.read_checkpoint(FIXTURES / "asteroid_frame_causal.pth")
    args = whole["model_args"] | {"norm_type": "gLN", "stride": None}
    model = convert.from_asteroid(whole["state_dict"], args)
    assert (model.normalization, model.strides) == ("layer", 8)
    assert_equal_weights(model, convert.from_asteroid(whole))
    whole = convert.read_checkpoint(FIXTURES / "asteroid_wide.pth")
    args = {name: value for name, value in whole["model_args"].items() if name != "stride"}
    assert convert.from_asteroid(whole["state_dict"], args).strides == 8


def test_a_state_dict_of_asteroid_alone():
    whole = convert.read_checkpoint(FIXTURES / "asteroid_encoder_relu.pth")
    state = {name: value.astype("float64") for name, value in whole["state_dict"].items()}
    alone = convert.from_asteroid(state, model_args=whole["model_args"])
    assert (alone.encoder_activation, alone.mask_activation) == ("relu", "linear")
    assert_equal_weights(alone, convert.from_asteroid(whole))
    with pytest.raises(ValueError, match=r"state_dict alone, .* give from_asteroid its model_args"):
        convert.from_asteroid(state)
    with pytest.raises(ValueError, match="this checkpoint has its own"):
        convert.from_asteroid(whole, model_args=whole["model_args"])
    with pytest.raises(ValueError, match="model_args has casual; known are bn_chan, causal"):
        convert.from_asteroid(state, model_args={**whole["model_args"], "casual": True})
    with pytest.raises(ValueError, match="has no n_filters among its model_args"):
        convert.from_asteroid(
            state, {name: v for name, v in whole["model_args"].items() if name != "n_filters"}
        )


def small_model(**arguments):
    sizes = {"filters": 4, "bottleneck_dim": 3, "hidden_dim": 2, "num_blocks": 1, "num_repeats": 1}
    model = ConvTasNet(**{**sizes, **arguments})
    model.build((None, None))
    return model


def checkpoint(**changes):
    conf = convert.to_asteroid(small_model())
    conf["model_args"].update(changes)
    return conf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_type": "fgLN"}, "norm_type='fgLN', which is not supported; supported are 'gLN'"),
        ({"mask_act": "prelu"}, r"mask_act='prelu', .* supported \(its slope is a weight"),
        ({"mask_act": "log_sigmoid"}, "mask_act='log_sigmoid'"),
        ({"encoder_activation": "prelu"}, r"encoder_activation='prelu', .* \(its slope is a"),
        ({"encoder_activation": "softmax"}, r"\(asteroid takes the encoder's over the examples"),
        ({"encoder_activation": "silu"}, "encoder_activation='silu'"),
        ({"fb_name": "stft"}, "fb_name='stft'"),
        ({"out_chan": 9}, "out_chan=9"),
        ({"bn_chan": 5}, r"masker.bottleneck.1.weight has shape \(3, 4, 1\), not \(5, 4, 1\)"),
        ({"n_blocks": 2}, "masker.TCN.1.shared_block.0.weight is missing"),
        ({"skip_chan": 0}, "masker.TCN.0.skip_conv.weight is not part of the model"),
        ({"n_src": 0}, "num_sources"),
    ],
    ids=str,
)
def test_asteroid_checkpoints_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        convert.from_asteroid(checkpoint(**changes))


def test_a_misshapen_tensor_that_is_not_used_is_refused_by_its_shape():
    conf = checkpoint()
    conf["state_dict"]["masker.TCN.0.res_conv.weight"] = np.zeros((3, 5, 1), "float32")
    message = r"masker.TCN.0.res_conv.weight has shape \(3, 5, 1\), not \(3, 2, 1\)"
    with pytest.raises(ValueError, match=message):
        convert.from_asteroid(conf)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask_activation": "log_sigmoid"}, "mask_activation='log_sigmoid'; it takes 'linear'"),
        ({"encoder_activation": "elu"}, "encoder_activation='elu'; it takes None, 'linear'"),
        ({"encoder_activation": "softmax"}, "encoder_activation='softmax'"),
        ({"normalization": "batch", "causal": True}, "no causal .* normalization='batch'"),
    ],
    ids=str,
)
def test_what_asteroid_does_not_have(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert.to_asteroid(small_model(**arguments), tmp_path / "there.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("silu", "swish"), ("swish", "swish"), ("leaky_relu", "leaky_relu"), (None, None)],
)
def test_encoder_activations_go_there_by_their_names(ours, theirs):
    written = convert.to_asteroid(small_model(encoder_activation=ours))
    assert written["model_args"]["encoder_activation"] == theirs
    back = convert.from_asteroid(written)
    assert back.encoder_activation == ("silu" if ours == "swish" else ours)


def test_other_checkpoints_are_refused():
    with pytest.raises(ValueError, match="it has no model_args, model_name, state_dict"):
        convert.from_asteroid({"a": 1})
    with pytest.raises(ValueError, match="must be of a ConvTasNet, got DPRNNTasNet"):
        convert.from_asteroid({**checkpoint(), "model_name": "DPRNNTasNet"})
    conf = checkpoint()
    del conf["model_args"]["n_filters"], conf["model_args"]["mask_act"]
    with pytest.raises(ValueError, match="has no mask_act, n_filters among its model_args"):
        convert.from_asteroid(conf)
    with pytest.raises(ValueError, match="state_dict of a torchaudio ConvTasNet"):
        convert.from_torchaudio(checkpoint()["state_dict"])
    state = convert.read_checkpoint(FIXTURES / "torchaudio_relu.pt")
    odd = {name: state[name][..., :15] for name in ("encoder.weight", "decoder.weight")}
    with pytest.raises(ValueError, match="kernels of 15 samples; an even number is needed"):
        convert.from_torchaudio({**state, **odd}, num_blocks=3)
    for num_blocks in (4, 0):
        with pytest.raises(ValueError, match="num_blocks must divide the 6 blocks given"):
            convert.from_torchaudio(state, num_blocks=num_blocks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalization": "layer"}, "no ConvTasNet with normalization='layer'"),
        ({"strides": 4}, "strides=4; it takes 8"),
        ({"skip_dim": None}, "skip_dim=None; it takes 128"),
        ({"padding": "valid"}, "padding='valid'"),
        ({"kernel_size": 15}, "model has kernel_size=15; an even number is needed"),
    ],
    ids=str,
)
def test_what_torchaudio_does_not_have(arguments, message):
    model = ConvTasNet(filters=4, hidden_dim=2, num_blocks=1, num_repeats=1, **arguments)
    model.build((None, None))
    with pytest.raises(ValueError, match=message):
        convert.to_torchaudio(model)


@pytest.mark.parametrize("write", [convert.to_asteroid, convert.to_torchaudio])
def test_other_models_are_refused(write):
    with pytest.raises(ValueError, match="model must be a ConvTasNet, got Dense"):
        write(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="model must be built"):
        write(ConvTasNet())


class Malicious:
    def __reduce__(self):
        return print, ("run",)


def test_files_are_data(tmp_path, capsys):
    import torch

    for name, content in [("code.pt", {"a": Malicious()}), ("list.pt", [1, 2])]:
        torch.save(content, tmp_path / name)
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "sound.pt").write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    for name in ["code.pt", "list.pt", "text.pt", "empty.pt", "sound.pt", "missing.pt"]:
        with pytest.raises(ValueError, match=name):
            convert.read_checkpoint(tmp_path / name)
    assert "run" not in capsys.readouterr().out


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["keras-sep", "convert", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


def test_command(tmp_path, monkeypatch, capsys):
    here, there = tmp_path / "here.keras", tmp_path / "there.pth"
    assert command(monkeypatch, FIXTURES / "asteroid_wide.pth", here) == 0
    assert keras.saving.load_model(here).conv_kernel_size == 5
    assert command(monkeypatch, here, there, "--to", "asteroid") == 0
    assert convert.from_asteroid(there).kernel_size == 15
    options = ["--num-blocks", 3, "--mask-activation", "relu", "--sample-rate", 16000]
    relu = FIXTURES / "torchaudio_relu.pt"
    assert command(monkeypatch, relu, here, *options, "--overwrite") == 0
    assert keras.saving.load_model(here).sample_rate == 16000
    assert {path.name for path in tmp_path.iterdir()} == {"here.keras", "there.pth"}

    alone = tmp_path / "alone.pth"
    write_checkpoint(convert.read_checkpoint(there)["state_dict"], alone)
    saved_model = tmp_path / "saved" / "1"
    export_saved_model(keras.saving.load_model(here), saved_model)
    capsys.readouterr()
    for arguments, message in [
        ([relu, here], "exists; give --overwrite"),
        ([relu, tmp_path / "a.txt"], "must have the suffix .keras"),
        ([relu, tmp_path / "a.keras"], "num_blocks must divide"),
        ([tmp_path / "none.pt", tmp_path / "a.keras"], "does not exist"),
        ([alone, tmp_path / "a.keras"], "give from_asteroid its model_args"),
        ([here, there, "--to", "nemo"], "--to must be asteroid or torchaudio, got nemo"),
        ([there, tmp_path / "a.pt", "--to", "torchaudio"], "is not a .keras file"),
        ([relu, tmp_path / "no" / "a.keras", *options], "there is no folder"),
        ([here, tmp_path / "no" / "a.pth", "--to", "asteroid"], "there is no folder"),
        ([saved_model, tmp_path / "a.pth", "--to", "asteroid"], "got LoadedSeparator"),
    ]:
        assert command(monkeypatch, *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
