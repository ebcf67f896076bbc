"""VQ-VAE, VQ-VAE-2 and VAE: grids, ratios, losses by name, decoding of fewer levels, files."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
from keras import ops
from numerics import run

from keras_sep.models import VAE, VQVAE, VQVAE2

WIDTHS = {"hidden_dim": 6, "residual_dim": 4, "num_residual_blocks": 1}
SMALL = {"num_embeddings": 8, "embedding_dim": 4, **WIDTHS}


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size=shape).astype("float32")


def grid(*lengths):
    return np.zeros((1, *lengths), "int32")


@pytest.mark.parametrize(
    ("model_class", "preset", "lengths", "grids"),
    [
        (VQVAE2, "imagenet_256", (256, 256), [(32, 32), (64, 64)]),
        (VQVAE2, "ffhq_1024", (1024, 1024), [(32, 32), (64, 64), (128, 128)]),
        (VQVAE, "imagenet_128", (128, 128), [(32, 32)]),
        (VQVAE, "audio", (16000,), [(250,)]),
    ],
)
def test_grids_of_the_papers(model_class, preset, lengths, grids):
    model = model_class.from_preset(
        preset, hidden_dim=2, residual_dim=1, embedding_dim=2, num_embeddings=4
    )
    assert model.code_shapes(lengths) == grids
    codes = model.encode(images(1, *lengths, model.channels))
    assert [tuple(level.shape) for level in codes] == [(1, *grid) for grid in grids]


def test_compression_ratios_of_the_papers():
    assert VQVAE2().compression_ratio((256, 256)) == pytest.approx(34.1, abs=0.05)
    assert VQVAE().compression_ratio((128, 128)) == pytest.approx(42.7, abs=0.05)
    three_levels = VQVAE2.from_preset("ffhq_1024", hidden_dim=2, residual_dim=1)
    # 32² + 64² + 128² codes of 9 bits.
    assert three_levels.compression_ratio((1024, 1024)) == pytest.approx(8 * 3 * 2**20 / 193_536)


def kernels(part):
    """Shapes: (height, width, inputs, outputs), of transposed convolutions outputs first."""
    return [tuple(w.shape) for w in part.trainable_variables if len(w.shape) == 4]


def test_the_architecture_is_the_papers():
    """That of 256×256 pixels: 128 channels, two residual blocks of 64, codes of 64."""
    model = VQVAE2()
    residual = 2 * [(3, 3, 128, 64), (1, 1, 64, 128)]
    bottom = [(4, 4, 3, 64), (4, 4, 64, 128), (3, 3, 128, 128), *residual]
    top = [(4, 4, 128, 64), (3, 3, 64, 128), *residual]
    assert [kernels(part) for part in model.encoders] == [bottom, top]
    assert [kernels(part) for part in model.projections] == [[(1, 1, 128, 64)], [(1, 1, 192, 64)]]
    assert [kernels(part) for part in model.conditioners] == [
        [(3, 3, 64, 128), *residual, (4, 4, 64, 128)]
    ]
    assert [kernels(part) for part in model.upsamplers] == [[(4, 4, 64, 64)]]
    assert kernels(model.decoder) == [(3, 3, 128, 128), *residual, (4, 4, 64, 128), (4, 4, 3, 64)]
    # In the order above, counted by hand, biases too; the codebooks are not trained by gradients.
    parts = (446_144, 369_216, 8_256, 12_352, 369_216, 65_600, 446_019)
    assert sum(np.prod(weight.shape) for weight in model.trainable_variables) == sum(parts)


def test_four_levels():
    model = VQVAE2(num_levels=4, **SMALL)
    assert model.level_names == ["level_4", "level_3", "level_2", "level_1"]
    grids = [(1, 2), (2, 4), (4, 8), (8, 16)]
    assert model.code_shapes((32, 64)) == grids
    codes = model.encode(images(1, 32, 64, 3))
    assert [tuple(level.shape[1:]) for level in codes] == grids
    model.compile("sgd", "mse")
    logs = model.evaluate(images(1, 32, 64, 3), verbose=0, return_dict=True)
    assert {f"{name}_perplexity" for name in model.level_names} <= logs.keys()


@pytest.mark.parametrize("model_class", [VQVAE2, VAE])
def test_mixed_precision(model_class):
    """Convolutions in bfloat16; the weights, the codebooks too, losses and images in float32."""
    model = model_class(dtype="mixed_bfloat16", **(WIDTHS if model_class is VAE else SMALL))
    x = images(4, 16, 16, 3)
    hidden = model.encoder(x) if model_class is VAE else model.encoders[0](x)
    assert keras.backend.standardize_dtype(hidden.dtype) == "bfloat16"
    outputs = model(x)
    for name in ("reconstruction", *model.latent_losses):
        assert keras.backend.standardize_dtype(outputs[name].dtype) == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    logs = model.fit(x, batch_size=2, epochs=2, verbose=0).history
    assert np.all(np.isfinite(list(logs.values())))
    assert np.all(np.isfinite(ops.convert_to_numpy(model.reconstruct(x))))


@pytest.mark.parametrize("model_class", [VQVAE2, VQVAE])
def test_an_unknown_preset(model_class):
    with pytest.raises(ValueError, match=r"preset must be one of imagenet_.* got 'best'"):
        model_class.from_preset("best")


@pytest.mark.parametrize("num_levels", [1, 2, 3])
def test_codes_decode_to_the_reconstruction(num_levels):
    model = VQVAE2(num_levels=num_levels, **SMALL)
    x = images(2, 16, 32, 3)
    outputs = model(x)
    codes = model.encode(x)
    for level, expected in zip(codes, outputs["codes"], strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(level), ops.convert_to_numpy(expected))
    decoded = ops.convert_to_numpy(model.decode(codes))
    np.testing.assert_allclose(decoded, ops.convert_to_numpy(outputs["reconstruction"]), atol=1e-5)
    top_alone = ops.convert_to_numpy(model.decode(codes[:1]))
    assert top_alone.shape == x.shape
    assert np.allclose(top_alone, decoded) == (num_levels == 1)


@pytest.mark.parametrize(
    ("loss", "arguments", "lengths"),
    [
        ("mse", {"ema_decay": None}, (16, 16)),
        ("mae", {"channels": 1}, (16, 8)),  # A spectrogram.
        (keras.losses.Huber(0.1), {"channels": 1, "rank": 1}, (32,)),  # A waveform.
    ],
    ids=["mse", "mae", "own loss"],
)
def test_fit_logs_the_parts_of_the_loss(loss, arguments, lengths):
    model = VQVAE2(**SMALL, **arguments)
    x = images(4, *lengths, model.channels)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    logs = model.fit(x, batch_size=2, epochs=2, verbose=0).history
    parts = ("reconstruction_loss", "codebook_loss", "commitment_loss")
    np.testing.assert_allclose(logs["loss"], sum(np.array(logs[part]) for part in parts), rtol=1e-4)
    assert (logs["codebook_loss"][0] > 0) == (model.ema_decay is None)
    evaluated = model.evaluate(x, verbose=0, return_dict=True)
    expected = keras.losses.get(loss)(x, ops.convert_to_tensor(model.reconstruct(x)))
    expected = float(ops.mean(expected))
    assert evaluated["reconstruction_loss"] == pytest.approx(expected, rel=1e-4)
    for name in ("top", "bottom"):
        assert 1 <= evaluated[f"{name}_perplexity"] <= 8
        assert 0 < evaluated[f"{name}_usage"] <= 1


def test_fit_trains_the_vae():
    """On the bound: the reconstruction's loss and the divergence add up, and fall."""
    model = VAE(4, **WIDTHS)
    x = images(8, 8, 8, 3)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    logs = model.fit(x, epochs=8, verbose=0).history
    total = np.array(logs["reconstruction_loss"]) + np.array(logs["kl_loss"])
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-4)
    assert logs["loss"][-1] < logs["loss"][0]


def assert_standard_normal(noise):
    """To five standard errors of mean and deviation."""
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size)


def test_latents_are_drawn_by_mean_and_variance(monkeypatch):
    model = VAE(4, **WIDTHS)
    kernel, _ = model.to_gaussian.get_weights()
    model.to_gaussian.set_weights([kernel, np.arange(8, dtype="float32") - 4])
    monkeypatch.setattr(VAE, "decode", lambda self, latents: latents)
    outputs = {n: ops.convert_to_numpy(value) for n, value in model(images(2, 64, 64, 3)).items()}
    assert np.ptp(outputs["log_variance"]) > 2
    noise = (outputs["reconstruction"] - outputs["mean"]) / np.exp(outputs["log_variance"] / 2)
    assert_standard_normal(noise)
    for channel in range(4):
        assert_standard_normal(noise[..., channel])


def test_samples_are_of_the_prior(monkeypatch):
    monkeypatch.setattr(VAE, "decode", lambda self, latents: latents)
    one, again, other = (
        ops.convert_to_numpy(VAE(4, seed=seed, **WIDTHS).sample(32, (8, 8))) for seed in (1, 1, 2)
    )
    assert_standard_normal(one)
    np.testing.assert_array_equal(again, one)
    assert not np.array_equal(other, one)


def test_a_seed_sets_what_the_vae_draws():
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        models.append(VAE(4, **WIDTHS))
    x = images(1, 8, 8, 3)
    one, two = (ops.convert_to_numpy(model(x)["reconstruction"]) for model in models)
    np.testing.assert_array_equal(one, two)
    assert np.any(ops.convert_to_numpy(models[0](x)["reconstruction"]) != one)


SAVE = """
import sys
import keras
import numpy as np
from keras import ops
from keras_sep.models import VQVAE2

keras.utils.set_random_seed(0)
sizes = {"hidden_dim": 6, "residual_dim": 4, "num_residual_blocks": 1}
model = VQVAE2(16, 4, init="kmeans", **sizes)
images = np.random.default_rng(0).uniform(-1, 1, size=(4, 32, 32, 3)).astype("float32")
model.compile("adam", "mse")
model.fit(images, verbose=0)
model.save(sys.argv[1] + "/model.keras")
codes = {str(level): ops.convert_to_numpy(c) for level, c in enumerate(model.encode(images))}
np.savez(sys.argv[1] + "/out.npz", images=ops.convert_to_numpy(model.reconstruct(images)), **codes)
"""


def test_what_another_backend_saved_gives_the_same_codes(tmp_path):
    other = {"tensorflow": "jax", "jax": "torch", "torch": "tensorflow"}[keras.backend.backend()]
    subprocess.run(
        [sys.executable, "-c", SAVE, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": other},
        check=True,
    )
    model = keras.saving.load_model(tmp_path / "model.keras")
    x = images(4, 32, 32, 3)
    with np.load(tmp_path / "out.npz") as expected:
        for level, codes in enumerate(model.encode(x)):
            assert len(np.unique(expected[str(level)])) > 4
            np.testing.assert_array_equal(ops.convert_to_numpy(codes), expected[str(level)])
        reconstruction = ops.convert_to_numpy(model.reconstruct(x))
        np.testing.assert_allclose(reconstruction, expected["images"], atol=1e-4)


def test_a_loss_must_be_given():
    model = VQVAE(**SMALL)
    model.compile("adam")
    with pytest.raises(ValueError, match="loss must be given to compile"):
        model.fit(images(2, 16, 16, 3), verbose=0)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (lambda: VQVAE2(**SMALL), (2, 16, 16, 3)),
        (lambda: VQVAE(rank=1, channels=1, **SMALL), (2, 32, 1)),
        (lambda: VAE(4, seed=5, **WIDTHS), (2, 16, 16, 3)),
    ],
)
def test_files(model, inputs, tmp_path):
    model = model()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    x = images(*inputs)
    np.testing.assert_allclose(
        ops.convert_to_numpy(again.reconstruct(x)),
        ops.convert_to_numpy(model.reconstruct(x)),
        atol=1e-6,
    )


def test_kl_is_the_closed_form():
    """Against torch.distributions, β and all, per value of the input."""
    model = VAE(4, kl_weight=0.5, **WIDTHS)
    x = images(3, 16, 16, 3)
    outputs = {name: ops.convert_to_numpy(value) for name, value in model(x).items()}
    mean, deviation = (
        torch.tensor(outputs["mean"].copy()),
        torch.tensor(np.exp(outputs["log_variance"] / 2)),
    )
    nats = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
    )
    expected = 0.5 * nats.sum((1, 2, 3)).numpy() / x[0].size
    np.testing.assert_allclose(outputs["kl_loss"], expected, rtol=1e-4)


def test_free_bits_bound_each_latent_from_below():
    model = VAE(4, free_bits=10.0, **WIDTHS)
    loss = run(lambda x: model(x)["kl_loss"], images(3, 16, 16, 3))
    np.testing.assert_allclose(loss, 10.0 * 4 * 4 * 4 / (16 * 16 * 3), rtol=1e-5)


def test_samples():
    assert tuple(VAE(4, **WIDTHS).sample(3, (2, 5)).shape) == (3, 8, 20, 3)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: VQVAE2(num_levels=0), "num_levels must be at least 1, got 0"),
        (lambda: VQVAE2(strides=6), "strides must be a power of two from 2 on, got 6"),
        (lambda: VQVAE2(residual_dim=0), "residual_dim must be at least 1, got 0"),
        (lambda: VAE(residual_dim=0), "residual_dim must be at least 1, got 0"),
        (lambda: VQVAE(num_residual_blocks=0), "num_residual_blocks must be at least 1, got 0"),
        (lambda: VAE(num_residual_blocks=0), "num_residual_blocks must be at least 1, got 0"),
        (lambda: VQVAE2(rank=3), "rank must be 1 or 2, got 3"),
        (lambda: VQVAE(rank=0), "rank must be 1 or 2, got 0"),
        (lambda: VAE(rank=3), "rank must be 1 or 2, got 3"),
        (lambda: VAE(kl_weight=-1.0), "kl_weight must be at least 0, got -1.0"),
        (lambda: VAE(free_bits=-1.0), "free_bits must be at least 0, got -1.0"),
        (lambda: VQVAE2(**SMALL).encode(images(1, 12, 16, 3)), "lengths must be divisible by 8"),
        (
            lambda: VQVAE2(**SMALL).encode(images(1, 16, 16, 1)),
            r"must be \(batch, height, width, 3\), got shape \(1, 16, 16, 1\)",
        ),
        (
            lambda: VQVAE(rank=1, channels=1, **SMALL)(images(1, 16, 16, 1)),
            r"must be \(batch, length, 1\), got shape \(1, 16, 16, 1\)",
        ),
        (
            lambda: VAE(4, **WIDTHS).reconstruct(images(16, 16, 3)),
            r"must be \(batch, height, width, 3\), got shape \(16, 16, 3\)",
        ),
        (lambda: VQVAE2(**SMALL).decode([]), "codes must be a list of 1 to 2 grids"),
        (lambda: VQVAE2(**SMALL).decode(3 * [grid(2, 2)]), "codes must be a list of 1 to 2 grids"),
        (
            lambda: VQVAE2(**SMALL).decode([grid(4, 4), grid(2, 2)]),
            r"level bottom must have twice the lengths of those above, \(4, 4\), got \(2, 2\)",
        ),
        (
            lambda: VQVAE2(num_levels=3, **SMALL).decode([grid(2, 2), grid(4, 2)]),
            r"level middle must have twice the lengths of those above, \(2, 2\), got \(4, 2\)",
        ),
        (
            lambda: VQVAE2(**SMALL).decode([grid(2)]),
            r"level top must be \(batch, rows, columns\), got shape \(1, 2\)",
        ),
    ],
)
def test_errors(function, message):
    with pytest.raises(ValueError, match=message):
        function()
