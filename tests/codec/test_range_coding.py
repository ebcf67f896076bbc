"""Integer frequencies, and symbols through the coder."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_sep.codec.range_coding import (
    TOTAL,
    CorruptedError,
    SymbolDecoder,
    SymbolEncoder,
    frequencies,
)


@given(
    arrays.arrays(
        "float32",
        st.tuples(st.integers(1, 4), st.integers(2, 40)),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_frequencies_are_the_softmax_in_integers(logits):
    counts = frequencies(logits)
    assert counts.min() >= 1
    assert (counts.sum(axis=-1) == TOTAL).all()
    exact = np.exp(logits.astype("float64") - logits.max(axis=-1, keepdims=True))
    exact /= exact.sum(axis=-1, keepdims=True)
    # Rounding takes less than 1 of each, and the floor of 1 is taken from the others.
    assert np.abs(counts / TOTAL - exact).max() <= 2 * logits.shape[-1] / TOTAL


def test_logits_that_are_not_finite():
    with pytest.raises(ValueError, match="finite logits"):
        frequencies([[0.0, np.nan]])


def test_the_coder_takes_frequencies_as_they_are():
    """A symbol of frequency f among 2²⁴ takes 24 - log2 f bits, rare ones too."""
    rng = np.random.default_rng(0)
    counts = frequencies(rng.normal(scale=4, size=(2000, 60)))
    drawn = [rng.choice(60, p=row / TOTAL) for row in counts]
    symbols = np.array(drawn, "int32")
    symbols[::500] = np.argmin(counts[::500], axis=-1)
    encoder = SymbolEncoder()
    for at in range(0, 2000, 100):
        encoder.put(symbols[at : at + 100], counts[at : at + 100])
    bits = 24 * 2000 - np.log2(counts[np.arange(2000), symbols]).sum()
    assert encoder.bits == pytest.approx(bits)
    payload = encoder.to_bytes()
    assert bits <= 8 * len(payload) <= bits + 64
    decoder = SymbolDecoder(payload)
    np.testing.assert_array_equal(decoder.get(counts), symbols)


def test_the_rarest_symbol_takes_all_24_bits():
    counts = np.full((100, 8), 1)
    counts[:, 3] = TOTAL - 7
    encoder = SymbolEncoder()
    encoder.put(np.full(100, 7, "int32"), counts)
    assert 2400 <= 8 * len(encoder.to_bytes()) <= 2464
    decoder = SymbolDecoder(encoder.to_bytes())
    assert (decoder.get(counts) == 7).all()


def test_no_more_is_read_than_was_written():
    counts = np.full((10, 16), TOTAL // 16)
    encoder = SymbolEncoder()
    encoder.put(np.arange(10, dtype="int32"), counts)
    decoder = SymbolDecoder(encoder.to_bytes())
    decoder.get(counts)
    # 40 bits were written, in two words.
    with pytest.raises(CorruptedError, match="ends before its last code"):
        decoder.get(counts)
    with pytest.raises(CorruptedError, match="within a word"):
        SymbolDecoder(bytes(5))
