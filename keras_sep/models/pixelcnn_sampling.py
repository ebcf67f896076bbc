"""Sampling of a `PixelCNN`, position by position in compiled loops."""

import numpy as np
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.backend_programs import raster_loop

# Calls of the compiled loop for a grid, at most: a chunk of rows each.
CHUNKS = 8


def sample(model, shape, batch_size, conditions, restrictions, seed, fixed, fixed_mask, progress):
    """See `PixelCNN.sample`."""
    shape = tuple(shape)
    temperature, top_k, top_p = (restrictions[name] for name in ("temperature", "top_k", "top_p"))
    _check(model, shape, batch_size, **conditions, **restrictions)
    codes, is_fixed = _fixed(model, shape, batch_size, fixed, fixed_mask)
    rows, columns = shape
    chunk = -(-rows // CHUNKS)
    key = (shape, top_k, top_p is not None)
    if key not in model._loops:
        draw = _draw(model, top_k, top_p is not None)
        model._loops[key] = raster_loop(model, model.start_row, draw)
    draw_rows = model._loops[key]
    rng = np.random.default_rng(seed)
    state = model.initial_state(shape, batch_size, **conditions)
    for first in range(0, rows, chunk):
        last = min(first + chunk, rows)
        noise = np.zeros((chunk * columns, batch_size, model.num_embeddings), "float32")
        if temperature > 0:
            number = (last - first) * columns
            noise[:number] = gumbel(rng, (number, *noise.shape[1:]))
        codes, state = draw_rows(
            ops.convert_to_tensor([first, last], "int32"),
            codes,
            state,
            [
                ops.convert_to_tensor(noise),
                ops.convert_to_tensor(is_fixed),
                ops.convert_to_tensor(first, "int32"),
                ops.convert_to_tensor([temperature or 1.0, top_p or 1.0], "float32"),
            ],
        )
        if progress is not None:
            progress(last, rows)
    return codes


def gumbel(rng: np.random.Generator, size: tuple[int, ...]):
    """Numbers whose largest, added to logits, falls on each code with its probability."""
    return -np.log(np.maximum(rng.standard_exponential(size, dtype="float32"), 1e-30))


def restrict(logits, top_k: int | None = None, top_p=None):
    """Logits with those outside the most likely codes at -1e9.

    Args:
        logits: `(batch, num_embeddings)`.
        top_k: Number of codes that stay, None for all.
        top_p: The fewest most likely codes stay whose probabilities add up to it; None for all.
    """
    if top_k is not None:
        values, _ = ops.top_k(logits, min(top_k, logits.shape[-1]))
        logits = ops.where(logits >= values[:, -1:], logits, -1e9)
    if top_p is not None:
        descending = -ops.sort(-logits, axis=-1)
        probabilities = ops.softmax(descending)
        # What the more likely ones add up to without the code itself.
        before = ops.cumsum(probabilities, axis=-1) - probabilities
        least = ops.min(ops.where(before < top_p, descending, 1e9), axis=-1, keepdims=True)
        logits = ops.where(logits >= least, logits, -1e9)
    return logits


def _draw(model, top_k, has_top_p):
    """A function that draws the codes of one position."""

    def draw(codes, row, column, state, others):
        noise, is_fixed, first, settings = others
        logits, state = model.continue_row(codes, row, column, state)
        logits = restrict(logits / settings[0], top_k, settings[1] if has_top_p else None)
        rows, columns = codes.shape[1:]
        random = ops.take(noise, (row - first) * columns + column, axis=0)
        drawn = ops.cast(ops.argmax(logits + random, axis=-1), "int32")
        here = ops.equal(ops.arange(rows)[:, None], row) & ops.equal(ops.arange(columns), column)
        return ops.where(here & ~is_fixed, drawn[:, None, None], codes), state

    return draw


def _check(model, shape, batch_size, labels, condition, temperature, top_k, top_p):
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be rows and columns of at least 1, got {shape}")
    check_at_least_one(batch_size=batch_size, top_k=1 if top_k is None else top_k)
    if temperature < 0:
        raise ValueError(f"temperature must be at least 0, got {temperature}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
    if labels is not None:
        labels = ops.convert_to_numpy(labels)
        if labels.shape != (batch_size,):
            raise ValueError(f"labels must have the shape ({batch_size},), got {labels.shape}")
        if labels.min() < 0 or labels.max() >= model.num_classes:
            raise ValueError(
                f"labels must be from 0 to {model.num_classes - 1}, got "
                f"{labels.min()} to {labels.max()}"
            )
    if condition is not None:
        condition = ops.convert_to_numpy(condition)
        if condition.ndim != 3 or len(condition) != batch_size:
            raise ValueError(
                f"condition must have the shape ({batch_size}, rows, columns), "
                f"got {condition.shape}"
            )
        if condition.min() < 0 or condition.max() >= model.condition_num_embeddings:
            raise ValueError(
                f"condition must hold codes from 0 to {model.condition_num_embeddings - 1}, "
                f"got {condition.min()} to {condition.max()}"
            )


def _fixed(model, shape, batch_size, fixed, fixed_mask):
    """Grids to begin with, and which of their positions stay."""
    size = (batch_size, *shape)
    if (fixed is None) != (fixed_mask is None):
        raise ValueError("fixed and fixed_mask must be given together")
    if fixed is None:
        return ops.zeros(size, "int32"), np.zeros(size, "bool")
    fixed = ops.convert_to_numpy(fixed)
    mask = ops.convert_to_numpy(fixed_mask).astype("bool")
    for name, values in (("fixed", fixed), ("fixed_mask", mask)):
        if values.shape not in (size, shape, (1, *shape)):
            raise ValueError(f"{name} must have the shape {size} or {shape}, got {values.shape}")
    if fixed.min() < 0 or fixed.max() >= model.num_embeddings:
        raise ValueError(
            f"fixed must hold codes from 0 to {model.num_embeddings - 1}, "
            f"got {fixed.min()} to {fixed.max()}"
        )
    return ops.convert_to_tensor(np.broadcast_to(fixed, size).astype("int32")), np.array(
        np.broadcast_to(mask, size)
    )
