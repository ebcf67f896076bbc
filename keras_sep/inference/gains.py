"""The scale that training by SI-SNR leaves open."""

import numpy as np

# How much gains that differ from the common gain cost, relative to the sources' own power.
_RIDGE = 0.01


def fit_gains(mixture: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Gains with which the sources sum to about the mixture.

    SI-SNR ignores scale and sign, so a model's outputs may have any. These gains `g` minimize

        ||mixture − Σ g_c s_c||² + 0.01 Σ ||s_c||² (g_c − g)²

    where `g` is the one gain that fits the sum of the sources best. The second term decides where
    the first cannot: between sources that are alike, as when one is silent and its estimate is a
    faint copy of the other. If the gains are still not all of one sign, all get `g`.

    Args:
        mixture: `(samples,)`.
        sources: Estimates, `(num_sources, samples)`.

    Returns:
        float64 `(num_sources,)`, zeros for silent sources.

    Raises:
        ValueError: An estimate has NaN or infinite samples.
    """
    sources = sources.astype("float64")
    products = sources @ sources.T
    targets = sources @ mixture.astype("float64")
    if not np.isfinite(products).all():
        raise ValueError("the model gave NaN or infinite samples; train it anew, or use another")
    powers = np.diag(products)
    audible = powers > 0
    if not audible.any():
        return np.zeros(len(sources))
    # At least a thousandth: estimates that cancel each other would get a huge gain.
    common = targets.sum() / max(products.sum(), 1e-3 * powers.sum())
    system = products + np.diag(_RIDGE * powers)
    right = targets + _RIDGE * powers * common
    gains = np.where(audible, common, 0.0)
    gains[audible] = np.linalg.solve(system[np.ix_(audible, audible)], right[audible])
    if (gains[audible] * common <= 0).any():
        gains[audible] = common
    return gains
