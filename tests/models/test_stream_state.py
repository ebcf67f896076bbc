"""Packing of a stream's state."""

import numpy as np
from keras import ops

from keras_sep.models.stream_state import kinds, pack, unpack


def test_equal_kinds_share_a_tensor_and_come_back_in_order():
    shapes = [((1, 1), "int32"), ((1, 2), "float32"), ((4, 3), "float32")] * 2
    rng = np.random.default_rng(0)
    state = [ops.convert_to_tensor(rng.integers(9, size=(2, *s)).astype(d)) for s, d in shapes]
    packed = pack(state, kinds(state))
    assert [tuple(x.shape) for x in packed] == [(2, 2, 1, 1), (2, 2, 1, 2), (2, 2, 4, 3)]
    for x, y in zip(unpack(packed, kinds(state)), state, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(ops.convert_to_numpy(x), ops.convert_to_numpy(y))
