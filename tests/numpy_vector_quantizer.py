"""Vector quantization in NumPy, from the papers' formulas: the reference of the tests."""

import numpy as np


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def nearest(x, codes):
    """By all the distances, in float64."""
    x, codes = np.asarray(x, "float64"), np.asarray(codes, "float64")
    return np.square(x[..., None, :] - codes).sum(-1).argmin(-1)


class Codebook:
    """An EMA codebook: equation 8 of appendix A.1 of arXiv 1711.00937, with Laplace smoothing."""

    def __init__(self, codes, decay, epsilon, cosine=False):
        self.sums = np.array(codes, "float64")
        self.counts = np.ones(len(codes))
        self.decay, self.epsilon, self.cosine = decay, epsilon, cosine

    @property
    def codes(self):
        total, k = self.counts.sum(), len(self.counts)
        smoothed = (self.counts + self.epsilon) / (total + k * self.epsilon) * total
        codes = self.sums / smoothed[:, None]
        return unit(codes) if self.cosine else codes

    def step(self, x):
        """Codes of the vectors `(n, dim)`, looked up before the codebook moves to them."""
        x = unit(x) if self.cosine else np.asarray(x, "float64")
        indices = nearest(x, self.codes)
        for k in range(len(self.counts)):
            mine = x[indices == k]
            self.counts[k] += (1 - self.decay) * (len(mine) - self.counts[k])
            self.sums[k] += (1 - self.decay) * (mine.sum(0) - self.sums[k])
        return indices


def perplexity(indices, num_embeddings):
    shares = np.bincount(np.ravel(indices), minlength=num_embeddings) / np.size(indices)
    used = shares[shares > 0]
    return np.exp(-(used * np.log(used)).sum())


def rotation(x, q):
    """The matrix that turns x into the direction of q, scaled by |q| / |x|: in their plane, and
    the identity beside it (section 4 of arXiv 2410.06424)."""
    a, b = unit(x), unit(q)
    cosine = a @ b
    c = unit(b - cosine * a)
    sine = np.sqrt(1 - cosine**2)
    turn = np.eye(len(x)) + (cosine - 1) * (np.outer(a, a) + np.outer(c, c))
    turn += sine * (np.outer(c, a) - np.outer(a, c))
    return turn * np.linalg.norm(q) / np.linalg.norm(x)
