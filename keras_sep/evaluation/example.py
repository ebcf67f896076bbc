"""What a separator is measured on."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Example:
    """A mixture and its sources.

    Attributes:
        name: For people: a file, or what was mixed.
        mixture: float32 `(samples,)`, with noise where there is some.
        sources: The references, float32 `(num_sources, samples)`.
    """

    name: str
    mixture: np.ndarray
    sources: np.ndarray
