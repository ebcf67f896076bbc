"""Separated chunks, cross-faded into one recording whose sources keep their places."""

import numpy as np


class ChunkJoiner:
    """Joins the sources of overlapping chunks of equal length.

    A model gives the sources of each chunk in an order of its own. Here each chunk's order is the
    one that brings its sources nearest to those of the chunk before, in the samples that both
    have. A tie, as in silence, keeps the order that the model's outputs had before. The last
    `overlap` samples of a chunk are cross-faded linearly into the next chunk.

    Args:
        chunk: Samples of a chunk.
        overlap: Samples of the cross-fade, at most half of `chunk`.
    """

    def __init__(self, chunk: int, overlap: int):
        self.chunk = chunk
        self.overlap = overlap
        self._fade = np.linspace(0.0, 1.0, overlap + 2, dtype="float32")[1:-1]
        self._previous = None
        self._orders = None

    def add(self, sources: np.ndarray, hop: int) -> np.ndarray:
        """Takes the next chunk and returns the samples that are finished with it.

        Args:
            sources: `(channels, num_sources, chunk)`. The channels' sources are brought into the
                same order.
            hop: Samples from the start of the chunk before to that of this one, at most
                `chunk - overlap`; 0 for the first.

        Returns: `(channels, num_sources, finished samples)`.
        """
        finished = self.chunk - self.overlap
        if self._previous is None:
            references = np.broadcast_to(sources[:1], sources.shape)
            self._orders = [
                best_order(reference @ channel.T)
                for reference, channel in zip(references, sources, strict=True)
            ]
            self._previous = _reorder(sources, self._orders)
            return self._previous[:, :, :finished]
        sources = _reorder(sources, self._orders)
        shared = self.chunk - hop
        changes = [
            best_order(before[:, hop:] @ now[:, :shared].T)
            for before, now in zip(self._previous, sources, strict=True)
        ]
        self._orders = [order[change] for order, change in zip(self._orders, changes, strict=True)]
        sources = _reorder(sources, changes)
        start = finished - hop
        faded = sources[:, :, start:shared]
        faded += (1.0 - self._fade) * (self._previous[:, :, finished:] - faded)
        self._previous = sources
        return sources[:, :, start:finished]

    def rest(self) -> np.ndarray:
        """The end of the last chunk: `(channels, num_sources, overlap)`."""
        return self._previous[:, :, self.chunk - self.overlap :]

    def next_hop(self) -> int:
        """Samples from the start of the last chunk to that of the next one.

        Usually the chunks share `overlap` samples. Where a source was nearly silent in these, with
        less than a quarter of its average power, they share more, up to half of `chunk`, so that
        every source can be told by its sound.
        """
        share = 0.25 * self.overlap / self.chunk
        energy = np.cumsum(np.square(self._previous[:, :, ::-1], dtype="float64"), axis=-1)
        heard = int((energy < share * energy[:, :, -1:]).sum(axis=-1).max()) + 1
        return self.chunk - min(max(heard, self.overlap), self.chunk // 2)


def best_order(similarity: np.ndarray) -> np.ndarray:
    """The order of the columns whose pairs with the rows have the largest sum.

    Exact in 2^n steps instead of n!: of all ways to give the first rows the same set of columns,
    only the best one can lead to the best of all. Ties go to the columns' present order.

    Args:
        similarity: `(num_sources, num_sources)`.

    Returns:
        Integers `(num_sources,)`: the column for each row.
    """
    best = {0: (0.0, [])}  # by the set of columns that are taken, a bit each
    for row in similarity.tolist():
        grown = {}
        for taken, (total, order) in best.items():
            for column, value in enumerate(row):
                key = taken | 1 << column
                if key != taken and (key not in grown or total + value > grown[key][0]):
                    grown[key] = (total + value, [*order, column])
        best = grown
    ((_, order),) = best.values()
    return np.array(order)


def _reorder(sources, orders):
    return np.stack([channel[order] for channel, order in zip(sources, orders, strict=True)])
