"""PixelCNN: what each position sees, steps and samples against full passes, training, files."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_sep.layers.backend_programs import compiled
from keras_sep.models import PixelCNN
from keras_sep.models.pixelcnn_sampling import gumbel, restrict

SMALL = {"num_embeddings": 5, "filters": 6, "num_layers": 3, "kernel_size": 3}
CONDITIONS = {"num_classes": 3, "condition_num_embeddings": 4, "num_condition_blocks": 1}
ATTENTION = {"num_attention_layers": 2, "num_heads": 2, "key_dim": 3}


def grids(*shape, values=5, seed=0):
    return np.random.default_rng(seed).integers(0, values, size=shape).astype("int32")


def randomized(model, scale=0.3):
    """Larger weights than at the start, biases too, so that nothing vanishes in rounding."""
    rng = np.random.default_rng(0)
    model.set_weights([scale * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def conditions(batch, shape=(2, 2)):
    return {"labels": grids(batch, values=3), "condition": grids(batch, *shape, values=4, seed=1)}


def parts_of(arguments, batch, shape):
    """The conditions that a model with these arguments takes."""
    needed = {"labels": "num_classes", "condition": "condition_num_embeddings"}
    return {n: value for n, value in conditions(batch, shape).items() if needed[n] in arguments}


def logits_of(model, codes, **parts):
    inputs = {"codes": ops.convert_to_tensor(codes), **parts} if parts else codes
    return ops.convert_to_numpy(model(inputs))


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("attention", [{}, ATTENTION], ids=["convolutions", "attention"])
def test_each_position_sees_all_before_it_and_no_other(kernel_size, attention):
    """Change each code in turn: the logits of all positions after it change, of none other."""
    rows, columns = 4, 5
    model = randomized(
        PixelCNN(**{**SMALL, "num_layers": 4, "kernel_size": kernel_size}, **attention)
    )
    codes = np.repeat(grids(1, rows, columns), rows * columns + 1, axis=0)
    for position in range(rows * columns):
        flat = codes[position + 1].reshape(-1)
        flat[position] = (flat[position] + 1) % 5
    logits = logits_of(model, codes).reshape(rows * columns + 1, rows * columns, -1)
    changed = np.any(logits[1:] != logits[:1], axis=-1)
    np.testing.assert_array_equal(changed, np.triu(np.ones_like(changed), 1))


def test_one_layer_sees_what_the_mask_of_its_kernel_leaves():
    """Against the definition: a 5×5 kernel without its centre and what comes after it."""
    model = randomized(PixelCNN(**{**SMALL, "num_layers": 1, "first_kernel_size": 5}))
    size, middle = 7, 3
    codes = np.repeat(grids(1, size, size), size * size + 1, axis=0)
    for position in range(size * size):
        flat = codes[position + 1].reshape(-1)
        flat[position] = (flat[position] + 1) % 5
    logits = logits_of(model, codes)[:, middle, middle]
    seen = np.any(logits[1:] != logits[:1], axis=-1).reshape(size, size)
    expected = np.zeros((size, size), bool)
    expected[middle - 2 : middle, middle - 2 : middle + 3] = True
    expected[middle, middle - 2 : middle] = True
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        ATTENTION,
        {**CONDITIONS, "num_attention_layers": 1},
        {"num_classes": 3},
        {"condition_num_embeddings": 4},
    ],
    ids=["plain", "attention", "all", "classes", "condition"],
)
def test_steps_give_the_logits_of_the_call(arguments):
    model = randomized(PixelCNN(**SMALL, **arguments))
    codes = grids(2, 4, 6)
    parts = parts_of(arguments, 2, (2, 3))
    expected = logits_of(model, codes, **parts)
    state = model.initial_state((4, 6), 2, **parts)
    step = compiled(model, model.step)
    for position in range(24):
        so_far = codes.copy().reshape(2, -1)
        so_far[:, position:] = 0
        so_far = ops.convert_to_tensor(so_far.reshape(codes.shape))
        logits, state = step(so_far, ops.convert_to_tensor(position, "int32"), state)
        np.testing.assert_allclose(
            ops.convert_to_numpy(logits),
            expected[:, position // 6, position % 6],
            atol=1e-5,
            err_msg=f"position {position}",
        )


def sample_by_full_passes(model, shape, noise, parts, temperature, top_k, top_p, fixed, mask):
    """The definition: a forward pass of the whole grid for each position."""
    codes = fixed.copy()
    forward = compiled(model, lambda codes: model({"codes": codes, **parts}))
    for row in range(shape[0]):
        for column in range(shape[1]):
            logits = ops.convert_to_numpy(forward(ops.convert_to_tensor(codes)))
            logits = logits[:, row, column] / temperature
            logits = ops.convert_to_numpy(restrict(ops.convert_to_tensor(logits), top_k, top_p))
            drawn = np.argmax(logits + noise[row, column], axis=-1)
            codes[:, row, column] = np.where(mask[row, column], codes[:, row, column], drawn)
    return codes


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ({}, (0.7, None, None)),
        ({**CONDITIONS, "num_attention_layers": 1}, (1.3, 4, 0.8)),
        ({"condition_num_embeddings": 4}, (1.0, None, 0.9)),
    ],
    ids=["plain", "all", "condition"],
)
def test_samples_are_those_of_full_passes(arguments, settings):
    model = randomized(PixelCNN(**SMALL, **arguments), 0.6)
    shape, batch = (10, 3), 4
    parts = parts_of(arguments, batch, (5, 1))
    fixed, mask = grids(batch, *shape, seed=2), np.zeros(shape, bool)
    mask[3:5, 1:] = True
    temperature, top_k, top_p = settings
    noise = gumbel(np.random.default_rng(7), (*shape, batch, 5))
    expected = sample_by_full_passes(model, shape, noise, parts, *settings, fixed, mask)
    done = []
    samples = model.sample(
        shape,
        batch,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=7,
        fixed=fixed,
        fixed_mask=mask,
        progress=lambda rows, total: done.append((rows, total)),
        **parts,
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(samples), expected)
    assert len(np.unique(expected)) == 5
    assert done == [(rows, 10) for rows in (2, 4, 6, 8, 10)]


def test_samples_have_the_models_distribution():
    """Two codes, all four outcomes: frequencies are the products of the model's probabilities."""
    model = randomized(PixelCNN(2, filters=4, num_layers=2, kernel_size=3), 1.0)
    outcomes = np.array([[[a, b]] for a in (0, 1) for b in (0, 1)], "int32")
    logits = logits_of(model, outcomes).astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    p = np.exp(np.take_along_axis(log_p, outcomes[..., None], -1).sum((1, 2, 3)))
    number = 20000
    samples = ops.convert_to_numpy(model.sample((1, 2), number, seed=0))
    counts = np.bincount(2 * samples[:, 0, 0] + samples[:, 0, 1], minlength=4)
    assert np.all(np.abs(counts - number * p) < 5 * np.sqrt(number * p * (1 - p)))
    assert p.min() > 0.01


def test_seeds_and_the_most_likely():
    model = randomized(PixelCNN(**SMALL), 0.6)
    one, two, three = (
        ops.convert_to_numpy(model.sample((3, 4), 8, seed=seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.any(one != three)
    likeliest = ops.convert_to_numpy(model.sample((3, 4), temperature=0.0))
    np.testing.assert_array_equal(np.argmax(logits_of(model, likeliest), -1), likeliest)


def test_compiled_loops_take_new_weights_and_batches():
    model, other = randomized(PixelCNN(**SMALL), 0.6), PixelCNN(**SMALL)
    before = ops.convert_to_numpy(model.sample((3, 4), 3, seed=1))
    other.set_weights([-weight for weight in model.get_weights()])
    model.set_weights(other.get_weights())
    for batch in (3, 2, 3):
        samples, expected = (
            ops.convert_to_numpy(m.sample((3, 4), batch, seed=1)) for m in (model, other)
        )
        np.testing.assert_array_equal(samples, expected)
    assert np.any(samples != before)


@pytest.mark.parametrize("loss", [None, "sparse_categorical_crossentropy"])
def test_sample_weights_are_of_grids(loss):
    model, codes = randomized(PixelCNN(**SMALL)), grids(4, 4, 4)
    if loss is not None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss)
    weights = np.array([0.0, 1.0, 0.0, 1.0], "float32")
    logs = model.evaluate(codes, codes, sample_weight=weights, verbose=0, return_dict=True)
    alone = model.evaluate(codes[1::2], codes[1::2], verbose=0, return_dict=True)
    assert logs["bits_per_dimension"] == pytest.approx(alone["bits_per_dimension"], rel=1e-5)
    # Keras divides by the number of values, weighted or not.
    assert 2 * logs["loss"] == pytest.approx(alone["loss"], rel=1e-5)


def test_dropout_is_for_training():
    model, codes = randomized(PixelCNN(**SMALL, dropout=0.5)), grids(2, 4, 4)
    one, two = (ops.convert_to_numpy(model(codes, training=t)) for t in (False, True))
    assert np.any(one != two)
    np.testing.assert_array_equal(one, logits_of(model, codes))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.05, 1.0))
def test_restrict(seed, top_k, top_p):
    logits = np.random.default_rng(seed).normal(size=(1, 6)).astype("float32")
    kept = ops.convert_to_numpy(restrict(ops.convert_to_tensor(logits), top_k)) > -1e8
    assert set(np.flatnonzero(kept)) == set(np.argsort(-logits[0])[:top_k])
    kept = ops.convert_to_numpy(restrict(ops.convert_to_tensor(logits), None, top_p)) > -1e8
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    order = np.argsort(-p)
    number = int(np.searchsorted(np.cumsum(p[order]), top_p - 1e-6)) + 1
    assert set(np.flatnonzero(kept)) == set(order[: min(number, 6)])


def test_fit_learns_a_known_distribution():
    """Rows that repeat the row above, and a first row by class: all but the first row is free."""
    labels = np.tile([0, 1], 32).astype("int32")
    first = np.random.default_rng(0).integers(0, 2, size=(64, 1, 3))
    codes = np.repeat(first + 2 * labels[:, None, None], 3, axis=1).astype("int32")
    model = PixelCNN(4, filters=16, num_layers=2, kernel_size=3, num_classes=2, dropout=0.05)
    model.compile(keras.optimizers.Adam(0.02))
    x = {"codes": codes, "labels": labels}
    history = model.fit(x, batch_size=64, epochs=50, verbose=0).history
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert logs["bits_per_dimension"] == pytest.approx(logs["loss"] / np.log(2), rel=1e-5)
    assert history["bits_per_dimension"][0] > 1
    assert logs["bits_per_dimension"] == pytest.approx(1 / 3, abs=0.05)  # A bit in three codes.
    samples = ops.convert_to_numpy(model.sample((3, 3), 64, labels=labels, seed=0))
    assert np.mean(samples // 2 == labels[:, None, None]) > 0.97
    assert np.mean(samples[:, 1:] == samples[:, :-1]) > 0.95


def test_mixed_precision():
    exact = randomized(PixelCNN(**SMALL, **CONDITIONS, **ATTENTION))
    codes, parts = grids(2, 4, 4), conditions(2)
    expected = logits_of(exact, codes, **parts)
    model = PixelCNN(**SMALL, **CONDITIONS, **ATTENTION, dtype="mixed_bfloat16")
    model.set_weights(exact.get_weights())
    logits = model({"codes": codes, **parts})
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    error = np.abs(ops.convert_to_numpy(logits) - expected).max()
    assert error < 0.05 * np.abs(expected).max()
    noise, no = gumbel(np.random.default_rng(3), (4, 4, 2, 5)), np.zeros((2, 4, 4), "int32")
    expected = sample_by_full_passes(
        model, (4, 4), noise, parts, 1.0, None, None, no, np.zeros((4, 4), bool)
    )
    samples = ops.convert_to_numpy(model.sample((4, 4), 2, seed=3, **parts))
    # In bfloat16 a step may round otherwise than a pass, and what follows differs then.
    assert np.mean(samples == expected) > 0.5


def test_files(tmp_path):
    model = randomized(PixelCNN(**SMALL, **CONDITIONS, **ATTENTION, dropout=0.1))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    codes, parts = grids(2, 4, 4), conditions(2)
    np.testing.assert_allclose(
        logits_of(again, codes, **parts), logits_of(model, codes, **parts), atol=1e-6
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: PixelCNN(0), "num_embeddings must be at least 1, got 0"),
        (lambda: PixelCNN(4, kernel_size=4), "kernel_size must be odd and at least 3, got 4"),
        (lambda: PixelCNN(4, dropout=1.0), "dropout must be at least 0 and below 1, got 1.0"),
        (
            lambda: PixelCNN(4, num_layers=2, num_attention_layers=3),
            r"num_attention_layers must be from 0 to num_layers \(2\), got 3",
        ),
        (lambda: PixelCNN(4, num_classes=0), "num_classes must be at least 1, got 0"),
        (lambda: PixelCNN(4, num_condition_blocks=-1), "num_condition_blocks must be at least 0"),
        (lambda: PixelCNN(**SMALL)({"labels": grids(1)}), "inputs must be codes, or a dictionary"),
        (lambda: PixelCNN(**SMALL)(grids(2, 4)), "codes must have the shape"),
        (
            lambda: PixelCNN(**SMALL, condition_num_embeddings=4)._context(
                None, grids(1, 2, 2, values=4), (None, None)
            ),
            "codes must have known rows and columns with a condition",
        ),
        (lambda: PixelCNN(**SMALL).sample((2, 2), 0), "batch_size must be at least 1, got 0"),
        (
            lambda: PixelCNN(**SMALL).sample((2, 2), fixed=grids(3), fixed_mask=np.ones((2, 2))),
            "fixed must have the shape",
        ),
        (
            lambda: PixelCNN(**SMALL, condition_num_embeddings=4).sample((2, 2)),
            "condition must be given to a model with condition_num_embeddings=4",
        ),
        (
            lambda: PixelCNN(**SMALL, num_classes=3).sample((2, 2), 2, labels=[0]),
            r"labels must have the shape \(2,\), got \(1,\)",
        ),
        (
            lambda: PixelCNN(**SMALL).sample((2, 2), labels=[0]),
            "labels must not be given to a model without num_classes",
        ),
        (
            lambda: PixelCNN(**SMALL, num_classes=3).sample((2, 2)),
            "labels must be given to a model with num_classes=3",
        ),
        (
            lambda: PixelCNN(**SMALL, num_classes=3).sample((2, 2), labels=[3]),
            "labels must be from 0 to 2, got 3 to 3",
        ),
        (lambda: PixelCNN(**SMALL).sample((2,)), "shape must be rows and columns of at least 1"),
        (lambda: PixelCNN(**SMALL).sample((2, 2), top_k=0), "top_k must be at least 1, got 0"),
        (lambda: PixelCNN(**SMALL).sample((2, 2), top_p=0.0), "top_p must be above 0"),
        (lambda: PixelCNN(**SMALL).sample((2, 2), temperature=-1.0), "temperature must be at"),
        (
            lambda: PixelCNN(**SMALL).sample((2, 2), fixed=grids(2, 2)),
            "fixed and fixed_mask must be given together",
        ),
        (
            lambda: PixelCNN(**SMALL).sample(
                (2, 2), fixed=grids(2, 2) + 5, fixed_mask=np.ones((2, 2))
            ),
            "fixed must hold codes from 0 to 4",
        ),
        (
            lambda: PixelCNN(**SMALL, condition_num_embeddings=4).sample(
                (4, 4), condition=grids(1, 2, 2, values=4) + 4
            ),
            "condition must hold codes from 0 to 3, got 5 to 7",
        ),
        (
            lambda: PixelCNN(**SMALL, condition_num_embeddings=4).sample(
                (4, 4), condition=grids(1, 3, 2, values=4)
            ),
            r"condition must have lengths that divide those of the codes, \(4, 4\), got \(3, 2\)",
        ),
    ],
)
def test_errors(function, message):
    with pytest.raises(ValueError, match=message):
        function()
