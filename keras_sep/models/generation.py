"""Pictures drawn from priors over the codes of a VQ-VAE."""

import math

import numpy as np
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.models.convolutional import check_lengths
from keras_sep.models.mobilenet import MobileNet


class Generative:
    """What the VQ-VAEs draw from priors over their codes.

    A base of models with `encode`, `decode`, `code_shapes`, `strides` and `num_levels`, as of
    `VQVAE2`.
    """

    def generate(
        self,
        priors: list,
        num_images: int,
        size: tuple[int, ...],
        labels=None,
        classifier=None,
        keep: float = 0.5,
        batch_size: int = 64,
        seed: int | None = None,
        progress=None,
        **settings,
    ):
        """New images, float32 NumPy `(num_images, *size, channels)`, drawn from priors.

        The top codes are drawn first, each level below given the one above. With a classifier more
        are drawn, and of each class those are kept whose class it finds most likely (Razavi et al.,
        section 3.3).

        Args:
            priors: A `PixelCNN` for each level, from top to bottom; of one column for `rank=1`.
            num_images: Images.
            size: Height and width of the images, or the length for a model of `rank=1`, divisible
                as `call` says: the models take any.
            labels: Class of each image, or one for all, if the priors have classes.
            classifier: A `MobileNet`, or a function of images in -1 to 1 that gives logits.
            keep: Fraction of each class kept with a classifier, above 0 to 1.
            batch_size: Images drawn at a time.
            seed: Of the random numbers; None for others each time.
            progress: Called with the steps done and all steps.
            **settings: `temperature`, `top_k` and `top_p` of `PixelCNN.sample`.

        Raises:
            ValueError: The priors are not those of the levels, or an argument is out of range.
        """
        check_priors(self, priors, labels, classifier, keep)
        check_at_least_one(num_images=num_images, batch_size=batch_size)
        check_lengths(np.empty((0, *size, 0)), self.strides * 2 ** (self.num_levels - 1))
        labels = _labels_of(labels, num_images)
        number = num_images
        if classifier is not None:
            labels = candidate_labels(labels, keep)
            number = len(labels)
        images = draw_images(
            self, priors, number, size, labels, None, None, batch_size, seed, progress, settings
        )
        if classifier is None:
            return images
        return keep_most_likely(images, labels, classifier, num_images)

    def inpaint(
        self,
        images,
        known,
        priors: list,
        labels=None,
        batch_size: int = 64,
        seed: int | None = None,
        progress=None,
        **settings,
    ):
        """Images whose unknown parts are drawn anew, float32 NumPy as `images`.

        The codes of which every pixel is known stay; the others are drawn from the priors, in
        raster order, so that they know of the codes before them and, below the top level, of all
        codes above.

        Args:
            images: `(batch, height, width, channels)` in -1 to 1; anything where not known.
            known: Booleans `(height, width)` or `(batch, height, width)`.
            priors, labels, batch_size, seed, progress, **settings: As of `generate`.

        Raises:
            ValueError: As `generate`, or `known` does not fit the images.
        """
        check_priors(self, priors, labels, None, 1.0)
        if self.rank != 2:
            raise ValueError(f"inpaint is for images, a model of rank=2, got rank={self.rank}")
        images, known = ops.convert_to_numpy(images), np.asarray(known, "bool")
        number, *size = images.shape[:-1]
        if known.shape not in ((*size,), (number, *size)):
            raise ValueError(
                f"known must have the shape {(number, *size)} or {(*size,)}, got {known.shape}"
            )
        known = np.broadcast_to(known, (number, *size))
        fixed = [ops.convert_to_numpy(codes) for codes in self.encode(images)]
        masks = []
        for rows, columns in self.code_shapes(size):
            cells = known.reshape(number, rows, size[0] // rows, columns, size[1] // columns)
            masks.append(cells.all((2, 4)))
        labels = _labels_of(labels, number)
        return draw_images(
            self, priors, number, size, labels, fixed, masks, batch_size, seed, progress, settings
        )


def draw_images(
    model,
    priors: list,
    num_images: int,
    size: tuple[int, ...],
    labels,
    fixed,
    fixed_masks,
    batch_size: int,
    seed: int | None,
    progress,
    settings: dict,
):
    """Pictures in float32 NumPy, drawn in batches level by level.

    Args:
        labels: `(num_images,)` or None.
        fixed, fixed_masks: For each level grids and masks `(num_images, rows, columns)`, or None.
        settings: Further arguments of `PixelCNN.sample`.
        model, priors, num_images, size, batch_size, seed, progress: As of `Generative.generate`.
    """
    shapes = model.code_shapes(size)
    grids = [(*shape, 1)[:2] for shape in shapes]  # A sequence is a grid of one column.
    steps = -(-num_images // batch_size) * len(priors)
    seeds = iter(np.random.SeedSequence(seed).generate_state(steps).tolist())
    images, done = [], 0
    for first in range(0, num_images, batch_size):
        part = slice(first, min(first + batch_size, num_images))
        codes = []
        for level, (prior, shape) in enumerate(zip(priors, grids, strict=True)):
            conditions = {}
            if prior.num_classes is not None:
                conditions["labels"] = labels[part]
            if prior.condition_num_embeddings is not None:
                conditions["condition"] = codes[-1]
            if fixed is not None:
                conditions["fixed"] = fixed[level][part]
                conditions["fixed_mask"] = fixed_masks[level][part]
            report = _share_of(progress, done, steps)
            codes.append(
                prior.sample(
                    shape,
                    part.stop - part.start,
                    seed=next(seeds),
                    progress=report,
                    **conditions,
                    **settings,
                )
            )
            done += 1
        codes = [ops.reshape(c, (-1, *shape)) for c, shape in zip(codes, shapes, strict=True)]
        images.append(ops.convert_to_numpy(model.decode(codes)))
    return np.concatenate(images)


def keep_most_likely(images, labels, classifier, num_images: int):
    """Of the pictures of each class those whose class the classifier finds most likely.

    Args:
        images: `(candidates, height, width, channels)` in -1 to 1.
        labels: Of the candidates, those of the pictures wanted first.
        classifier: As of `Generative.generate`.
        num_images: Pictures to keep.

    Returns: the pictures, in the order of the labels wanted.
    """
    scores = class_log_probabilities(classifier, images)[np.arange(len(labels)), labels]
    wanted, kept = labels[:num_images], np.empty(num_images, "int64")
    for label in np.unique(wanted):
        places = np.flatnonzero(wanted == label)
        candidates = np.flatnonzero(labels == label)
        best = candidates[np.argsort(-scores[candidates], kind="stable")][: len(places)]
        # Not by rank: the first pictures shall not be the best ones.
        kept[places] = np.sort(best)
    return images[kept]


def class_log_probabilities(classifier, images, batch_size: int = 256):
    """Logarithms of the probabilities of classes, `(batch, classes)`.

    Args:
        classifier: A `MobileNet`, to whose size, channels and range the images are brought, or
            another function of the images that gives logits.
        images: `(batch, height, width, channels)` in -1 to 1.
        batch_size: Images at a time.
    """
    logits = [
        ops.convert_to_numpy(
            classifier(_as_trained(classifier, images[first : first + batch_size]))
        )
        for first in range(0, len(images), batch_size)
    ]
    logits = np.concatenate(logits).astype("float64")
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def candidate_labels(labels, keep: float):
    """Labels of the pictures to draw, so that of each class the fraction `keep` is enough.

    Args:
        labels: Of the pictures wanted, `(num_images,)`; they come first.
        keep: Above 0 to 1.
    """
    candidates = np.tile(labels, math.ceil(1 / keep - 1e-9))
    drawn = np.zeros(len(candidates), "bool")
    for label, wanted in zip(*np.unique(labels, return_counts=True), strict=True):
        drawn[np.flatnonzero(candidates == label)[: math.ceil(wanted / keep - 1e-9)]] = True
    return candidates[drawn]


def _as_trained(classifier, images):
    images = ops.convert_to_tensor(images, "float32")
    if not isinstance(classifier, MobileNet):
        return images
    height, width, channels = classifier.input_shape[-3:]
    if (height, width) != (None, None) and (height, width) != images.shape[1:3]:
        images = ops.image.resize(images, (height, width), antialias=True)
    if channels != images.shape[-1]:
        images = ops.repeat(images[..., :1], channels, axis=-1)
    return (images + 1) * 127.5 if classifier.include_preprocessing else images


def _labels_of(labels, num_images):
    """A label for each image, from those or from one for all."""
    if labels is None:
        return None
    labels = np.asarray(labels, "int32")
    if labels.shape not in ((), (num_images,)):
        raise ValueError(f"labels must be one, or one for each of {num_images}, got {labels.shape}")
    return np.broadcast_to(labels, (num_images,))


def _share_of(progress, done, steps):
    """A report of rows in one of the steps as hundredths of all steps."""
    if progress is None:
        return None
    return lambda rows, total: progress(round(100 * (done + rows / total) / steps), 100)


def check_priors(model, priors: list, labels, classifier, keep: float) -> None:
    """Raises ValueError for priors that are not those of the model's levels, and the like."""
    if len(priors) != model.num_levels:
        raise ValueError(
            f"priors must be one for each of the {model.num_levels} levels, from top to bottom, "
            f"got {len(priors)}"
        )
    for level, prior in enumerate(priors):
        if prior.num_embeddings != model.num_embeddings:
            raise ValueError(
                f"priors[{level}] must be of {model.num_embeddings} codes, "
                f"got {prior.num_embeddings}"
            )
        if level == 0 and prior.condition_num_embeddings is not None:
            raise ValueError("priors[0] must be a prior of the top level, without a condition")
        if prior.condition_num_embeddings not in (None, model.num_embeddings):
            raise ValueError(
                f"priors[{level}] must be conditioned on {model.num_embeddings} codes or on none, "
                f"got {prior.condition_num_embeddings}"
            )
    has_classes = any(prior.num_classes is not None for prior in priors)
    if has_classes and labels is None:
        raise ValueError("labels must be given: a prior has classes")
    if labels is not None and not has_classes and classifier is None:
        raise ValueError("labels must not be given: no prior has classes")
    if classifier is not None and labels is None:
        raise ValueError("labels must be given with a classifier, which looks for them")
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be above 0 and at most 1, got {keep}")
