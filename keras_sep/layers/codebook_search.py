"""Searches of a codebook: the nearest code, vectors drawn at random, k-means."""

from keras import ops

# Distances at a time: 2 MB of float32, which stay in a processor's cache.
_DISTANCES = 2**19
_FEWEST_VECTORS = 16
# Of k-means.
_ITERATIONS = 10


def nearest_codes(vectors, codes):
    """Index of the code nearest to each vector, the first of equally near ones.

    The distances are ‖a‖² − 2a·b + ‖b‖², less ‖a‖², which does not change their order: one matrix
    product. It goes through a copy of the vectors in chunks of 2¹⁹ distances, 2 MB (64 bytes a code
    if that is more), whatever the number of vectors; TensorFlow's graph may hold several at once.

    Args:
        vectors: `(num_vectors, dim)`.
        codes: `(num_codes, dim)`.

    Returns: int32 `(num_vectors,)`.
    """
    num_codes = codes.shape[0]
    norms = ops.sum(ops.square(codes), axis=-1)
    directions = -2.0 * ops.transpose(codes)
    indices = ops.arange(num_codes, dtype="int32")

    def search(chunk):
        distances = ops.matmul(chunk, directions) + norms
        nearest = ops.min(distances, axis=-1, keepdims=True)
        # Two plain minima are faster on a CPU than an argmin; NaN finds the last code.
        return ops.min(ops.where(distances <= nearest, indices, num_codes - 1), axis=-1)

    num_vectors = ops.shape(vectors)[0]
    most = max(_DISTANCES // num_codes, _FEWEST_VECTORS)
    if isinstance(num_vectors, int) and num_vectors <= most:
        return search(vectors)
    chunks = -(-num_vectors // most)
    chunks = chunks if isinstance(chunks, int) else ops.maximum(chunks, 1)
    size = -(-num_vectors // chunks)
    missing = chunks * size - num_vectors
    if not isinstance(missing, int) or missing:
        vectors = ops.pad(vectors, ((0, missing), (0, 0)))
    chunked = ops.reshape(vectors, (chunks, size, codes.shape[1]))
    return ops.reshape(ops.map(search, chunked), (-1,))[:num_vectors]


def sums_by_code(vectors, indices, weights, num_codes: int):
    """How many vectors each code has, `(num_codes,)`, and their sums, `(num_codes, dim)`.

    Args:
        vectors: `(num_vectors, dim)`.
        indices: int32 `(num_vectors,)`.
        weights: `(num_vectors,)`, 1 for vectors that count and 0 for others, whose values are 0;
            None if all count.
        num_codes: Codes there are.
    """
    weights = ops.ones_like(vectors[:, 0]) if weights is None else weights
    counts = ops.segment_sum(weights, indices, num_codes)
    return counts, ops.segment_sum(vectors, indices, num_codes)


def draw(vectors, weights, random):
    """Vectors at random, no vector twice where there are enough.

    Args:
        vectors: `(num_vectors, dim)`.
        weights: `(num_vectors,)`, 1 for vectors to draw from and 0 for others; None for all.
        random: Uniform in [0, 1), `(num + 1,)`.

    Returns: `(num, dim)`.
    """
    num, num_vectors = random.shape[0] - 1, ops.shape(vectors)[0]
    ranks = None if weights is None else ops.cumsum(weights)
    total = ops.cast(num_vectors, "float32") if ranks is None else ranks[-1]
    # One from each of `num` parts of the vectors, the parts in turn from a random one on.
    starts = ops.floor(ops.arange(num + 1, dtype="float32") / num * total)
    drawn = starts[:-1] + ops.floor(random[1:] * (starts[1:] - starts[:-1]))
    first = ops.cast(random[0] * num, "int32")
    drawn = ops.take(drawn, (ops.arange(num, dtype="int32") + first) % num)
    if ranks is not None:
        drawn = ops.searchsorted(ranks, drawn, side="right")
    return ops.take(vectors, ops.minimum(ops.cast(drawn, "int32"), num_vectors - 1), axis=0)


def k_means(vectors, weights, random):
    """Centres of clusters by ten rounds of Lloyd's algorithm from vectors drawn at random.

    Args:
        vectors, weights, random: As of `draw`.

    Returns: how many vectors each cluster has, `(num,)`, and their means, `(num, dim)`; an empty
        cluster keeps the centre it had.
    """
    num = random.shape[0] - 1

    def improve(_, state):
        _, centres = state
        indices = nearest_codes(vectors, centres)
        counts, sums = sums_by_code(vectors, indices, weights, num)
        means = sums / ops.maximum(counts, 1.0)[:, None]
        return counts, ops.where(counts[:, None] > 0, means, centres)

    initial = ops.zeros((num,), "float32"), draw(vectors, weights, random)
    return ops.fori_loop(0, _ITERATIONS, improve, initial)
