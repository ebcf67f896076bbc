"""Symbols with integer frequencies through a range coder."""

import numpy as np

# The coder's probabilities are integers that sum to this.
TOTAL = 2**24
_WORD = np.dtype("<u4")


class CorruptedError(ValueError):
    """Bytes that no encoder wrote for these frequencies."""


def frequencies(logits: np.ndarray) -> np.ndarray:
    """Softmax in integers: none is 0, and they sum to `TOTAL`.

    Args:
        logits: `(batch, num_symbols)`.

    Returns: int64 of the same shape.

    Raises:
        ValueError: A logit is NaN or infinite.
    """
    logits = np.asarray(logits, "float64")
    if not np.isfinite(logits).all():
        raise ValueError("priors must give finite logits, got NaN or infinity; train them anew")
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = weights / weights.sum(axis=-1, keepdims=True)
    counts = 1 + np.floor(shares * (TOTAL - logits.shape[-1])).astype("int64")
    likeliest = np.argmax(counts, axis=-1)
    counts[np.arange(len(counts)), likeliest] += TOTAL - counts.sum(axis=-1)
    return counts


def information(counts: np.ndarray, symbols: np.ndarray) -> float:
    """Bits of the symbols, one a row, by their frequencies."""
    return float(-np.log2(counts[np.arange(len(symbols)), symbols] / TOTAL).sum())


class SymbolEncoder:
    """Writes symbols.

    Attributes:
        bits: Information of the symbols so far, which the bytes exceed by some 32 bits.
    """

    def __init__(self):
        self.bits = 0.0
        self._coder = _constriction().queue.RangeEncoder()
        self._family = _family()

    def put(self, symbols: np.ndarray, counts: np.ndarray) -> None:
        """Writes int32 `(batch,)` symbols of frequencies `(batch, num_symbols)`."""
        self.bits += information(counts, symbols)
        self._coder.encode(symbols, self._family, _as_probabilities(counts))

    def to_bytes(self) -> bytes:
        return self._coder.get_compressed().astype(_WORD).tobytes()


class SymbolDecoder:
    """Reads symbols that `SymbolEncoder` wrote.

    Args:
        payload: Its bytes.

    Raises:
        CorruptedError: Not a whole number of words.
    """

    def __init__(self, payload: bytes):
        if len(payload) % _WORD.itemsize:
            raise CorruptedError("it ends within a word")
        # An encoder's bytes are never shorter than the information in them.
        self._bits = 8 * len(payload) + 1.0
        words = np.frombuffer(payload, _WORD).astype("uint32")
        self._coder = _constriction().queue.RangeDecoder(words)
        self._family = _family()

    def get(self, counts: np.ndarray) -> np.ndarray:
        """Reads int32 `(batch,)` symbols of frequencies `(batch, num_symbols)`.

        Raises:
            CorruptedError: No such symbols were written.
        """
        try:
            symbols = self._coder.decode(self._family, _as_probabilities(counts))
        except (AssertionError, ValueError) as error:
            raise CorruptedError(str(error)) from None
        self._bits -= information(counts, symbols)
        if self._bits < 0:
            raise CorruptedError("it ends before its last code")
        return symbols


def _as_probabilities(counts):
    """The frequencies in the form in which the coder takes them over exactly.

    It adds 1 to each of `num_symbols` probabilities scaled to a sum of `TOTAL - num_symbols`; the
    scale is 1 here, and integers below 2²⁴ are exact in float32.
    """
    return (counts - 1).astype("float32")


def _constriction():
    try:
        import constriction
    except ImportError:
        raise ImportError(
            'compression needs constriction: pip install "keras-sep[codec]"'
        ) from None
    return constriction.stream


def _family():
    return _constriction().model.Categorical(perfect=False)
