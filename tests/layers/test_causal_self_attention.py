"""Causal self-attention: against its definition, what it sees, its steps."""

import numpy as np
from keras import ops
from numerics import layer_gradients, run

from keras_sep.layers import CausalSelfAttention

SHAPE = (3, 4)


def made():
    layer = CausalSelfAttention(num_heads=2, key_dim=3)
    layer.build((None, *SHAPE, 5))
    rng = np.random.default_rng(0)
    layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer, rng.normal(size=(2, *SHAPE, 5)).astype("float32")


def test_definition():
    """In NumPy, position by position and head by head."""
    layer, inputs = made()
    weights = {
        weight.path.split("/", 1)[1]: ops.convert_to_numpy(weight) for weight in layer.weights
    }

    def dense(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    x = inputs.reshape(2, -1, 5)
    rows, columns = np.divmod(np.arange(12), SHAPE[1])
    place = np.stack([rows / 3 - 0.5, columns / 4 - 0.5], -1)
    placed = np.concatenate([x, np.broadcast_to(place, (2, 12, 2))], -1)
    query, key, value = dense(placed, "query"), dense(placed, "key"), dense(x, "value")
    attended = np.zeros((2, 12, 6))
    for example in range(2):
        for position in range(12):
            for head in (slice(0, 3), slice(3, 6)):
                scores = key[example, : position + 1, head] @ query[example, position, head]
                share = np.exp(scores / 3**0.5)
                past = value[example, : position + 1, head]
                attended[example, position, head] = share / share.sum() @ past
    expected = dense(attended, "out").reshape(inputs.shape)
    np.testing.assert_allclose(run(layer, inputs), expected, atol=1e-5)


def test_sees_itself_and_all_before_it_and_no_other():
    layer, inputs = made()
    for position in range(12):
        cotangent = np.zeros((1, 12, 5), "float32")
        cotangent[:, position] = 1
        gradient = layer_gradients(layer, inputs[:1], cotangent.reshape(1, *SHAPE, 5))[0]
        seen = np.any(gradient.reshape(12, 5) != 0, axis=-1)
        np.testing.assert_array_equal(seen, np.arange(12) <= position)


def test_steps():
    layer, inputs = made()
    expected = run(layer, inputs).reshape(2, 12, 5)
    state = layer.initial_state(SHAPE, 2)
    for position in range(12):
        x = ops.convert_to_tensor(inputs.reshape(2, 12, 5)[:, position])
        y, state = layer.step(x, ops.convert_to_tensor(position, "int32"), SHAPE, state)
        np.testing.assert_allclose(ops.convert_to_numpy(y), expected[:, position], atol=1e-5)
