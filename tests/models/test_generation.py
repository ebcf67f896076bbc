"""Pictures drawn from priors: from top to bottom, rejection, parts drawn anew."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sep.models import VQVAE, VQVAE2, MobileNet, PixelCNN
from keras_sep.models.generation import (
    candidate_labels,
    class_log_probabilities,
    keep_most_likely,
)

SMALL = {
    "num_embeddings": 8,
    "embedding_dim": 4,
    "hidden_dim": 6,
    "residual_dim": 4,
    "num_residual_blocks": 1,
}
PRIOR = {"num_embeddings": 8, "filters": 4, "num_layers": 1, "kernel_size": 3}


class OneCode(keras.Model):
    """A prior that gives what it was asked for: each code is the label, or that above plus one."""

    num_embeddings = 8

    def __init__(self, num_classes=None, condition_num_embeddings=None):
        super().__init__()
        self.num_classes = num_classes
        self.condition_num_embeddings = condition_num_embeddings

    def sample(self, shape, batch_size, labels=None, condition=None, progress=None, **settings):
        progress(shape[0], shape[0])
        if condition is None:
            return np.broadcast_to(np.asarray(labels)[:, None, None], (batch_size, *shape))
        grown = np.repeat(np.repeat(np.asarray(condition), 2, axis=1), 2, axis=2)
        assert grown.shape[1:] == shape
        return grown + 1


def test_waveforms_from_sequences_of_codes():
    model = VQVAE2(num_levels=2, rank=1, **SMALL)
    priors = [PixelCNN(**PRIOR), PixelCNN(**PRIOR, condition_num_embeddings=8)]
    waveforms = model.generate(priors, 3, (32,), seed=1)
    seeds = np.random.SeedSequence(1).generate_state(2).tolist()
    top = priors[0].sample((4, 1), 3, seed=seeds[0])
    bottom = priors[1].sample((8, 1), 3, condition=top, seed=seeds[1])
    assert len(np.unique(ops.convert_to_numpy(top))) > 1
    expected = model.decode([top[..., 0], bottom[..., 0]])
    np.testing.assert_allclose(waveforms, ops.convert_to_numpy(expected), atol=1e-5)
    with pytest.raises(ValueError, match="inpaint is for images"):
        model.inpaint(waveforms, np.ones(32, bool), priors)


def test_levels_from_top_to_bottom():
    model = VQVAE2(num_levels=3, **SMALL)
    labels, done = np.array([0, 3, 5]), []
    images = model.generate(
        [OneCode(6), OneCode(None, 8), OneCode(None, 8)],
        3,
        (16, 32),
        labels=labels,
        batch_size=2,
        progress=lambda *steps: done.append(steps),
    )
    codes = [
        np.broadcast_to(labels[:, None, None] + level, (3, rows, columns))
        for level, (rows, columns) in enumerate(model.code_shapes((16, 32)))
    ]
    expected = model.decode([ops.convert_to_tensor(c.astype("int32")) for c in codes])
    np.testing.assert_allclose(images, ops.convert_to_numpy(expected), atol=1e-5)
    assert done == [(17, 100), (33, 100), (50, 100), (67, 100), (83, 100), (100, 100)]


def test_seeds_and_one_level():
    model, prior = VQVAE(**SMALL), PixelCNN(**PRIOR, num_classes=3)
    one, two, three = (
        model.generate([prior], 4, (8, 8), labels=2, batch_size=2, seed=seed) for seed in (1, 1, 2)
    )
    assert one.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(one, two)
    assert np.any(one != three)
    assert np.any(one[:2] != one[2:])


def test_the_most_likely_half_of_each_class_is_kept():
    # Candidates for the labels 0, 1, 0 come twice; the classifier's logits lie in their pixels.
    labels = np.array([0, 1, 0, 0, 1, 0])
    logits = np.array([[1, 0], [0, 1], [3, 0], [2, 0], [0, 2], [0, 1]], "float32")
    images = logits[:, None, None, :]
    kept = keep_most_likely(images, labels, lambda x: x[:, 0, 0], 3)
    np.testing.assert_array_equal(kept, images[[2, 4, 3]])


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (1.0, [0, 1, 0, 0]),
        (0.75, [0, 1, 0, 0, 0, 1]),
        (0.5, [0, 1, 0, 0, 0, 1, 0, 0]),
        (0.4, [0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0]),
    ],
)
def test_of_each_class_as_many_are_drawn_as_the_fraction_says(keep, expected):
    np.testing.assert_array_equal(candidate_labels(np.array([0, 1, 0, 0]), keep), expected)


def test_generate_with_a_classifier():
    model = VQVAE(**SMALL)
    arguments = [PixelCNN(**PRIOR, num_classes=3)], 4, (8, 8)
    images = model.generate(
        *arguments, labels=1, classifier=lambda x: ops.mean(x, (1, 2)), keep=0.5, seed=0
    )
    drawn = model.generate([arguments[0][0]], 8, (8, 8), labels=1, seed=0)
    scores = class_log_probabilities(lambda x: ops.mean(x, (1, 2)), drawn)[:, 1]
    best = drawn[np.sort(np.argsort(-scores)[:4])]
    np.testing.assert_allclose(images, best, atol=1e-6)


def test_a_mobilenet_gets_pictures_as_it_was_trained():
    model = MobileNet(
        "v1",
        alpha=1 / 16,
        input_shape=(32, 32, 3),
        num_classes=3,
        include_preprocessing=True,
        output_stride=8,
    )
    images = np.random.default_rng(0).uniform(-1, 1, (2, 28, 28, 1)).astype("float32")
    resized = ops.image.resize(ops.convert_to_tensor(images), (32, 32), antialias=True)
    logits = ops.convert_to_numpy(model(ops.repeat(127.5 * (resized + 1), 3, axis=-1)))
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(class_log_probabilities(model, images), expected, atol=1e-4)


def test_inpaint_keeps_the_codes_of_known_parts():
    model = VQVAE2(**SMALL)
    priors = [PixelCNN(**PRIOR), PixelCNN(**PRIOR, condition_num_embeddings=8)]
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    everything = model.inpaint(images, np.ones((32, 32)), priors, seed=0)
    np.testing.assert_allclose(
        everything, ops.convert_to_numpy(model.reconstruct(images)), atol=1e-5
    )
    drawn = {}
    for prior, name in zip(priors, model.level_names, strict=True):
        original = prior.sample

        def sample(*arguments, name=name, original=original, **settings):
            drawn[name] = settings["fixed_mask"], original(*arguments, **settings)
            return drawn[name][1]

        prior.sample = sample
    known = np.ones((32, 32), bool)
    known[:, 15:] = False  # Column 15 belongs to the second code of the top, fourth of the bottom.
    model.inpaint(images, known, priors, seed=0)
    for name, codes, columns in zip(model.level_names, model.encode(images), (1, 3), strict=True):
        mask, grid = drawn[name]
        assert mask[:, :, :columns].all()
        assert not mask[:, :, columns:].any()
        codes, grid = ops.convert_to_numpy(codes), ops.convert_to_numpy(grid)
        np.testing.assert_array_equal(grid[:, :, :columns], codes[:, :, :columns])
        assert np.any(grid != codes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 1, (8, 8)), "priors must be one for each of the 1 levels"),
        (([PixelCNN(4, 4, 1)], 1, (8, 8)), r"priors\[0\] must be of 8 codes, got 4"),
        (([PixelCNN(**PRIOR)], 1, (8, 9)), "lengths must be divisible by 4"),
        (([PixelCNN(**PRIOR)], 0, (8, 8)), "num_images must be at least 1, got 0"),
        (([PixelCNN(**PRIOR)], 1, (8, 8), 1), "labels must not be given: no prior has classes"),
        (([PixelCNN(**PRIOR, num_classes=2)], 1, (8, 8)), "labels must be given: a prior has"),
        (([PixelCNN(**PRIOR)], 1, (8, 8), None, print), "labels must be given with a classifier"),
        (([PixelCNN(**PRIOR)], 1, (8, 8), 1, print, 0.0), "keep must be above 0 and at most 1"),
        (
            ([PixelCNN(**PRIOR, num_classes=3)], 3, (8, 8), [0, 1]),
            r"labels must be one, or one for each of 3, got \(2,\)",
        ),
        (
            ([PixelCNN(**PRIOR, condition_num_embeddings=8)], 1, (8, 8)),
            r"priors\[0\] must be a prior of the top level",
        ),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        VQVAE(**SMALL).generate(*arguments)


def test_a_prior_of_other_conditions():
    priors = [PixelCNN(**PRIOR), PixelCNN(**PRIOR, condition_num_embeddings=7)]
    with pytest.raises(ValueError, match=r"priors\[1\] must be conditioned on 8 codes or on none"):
        VQVAE2(**SMALL).generate(priors, 1, (16, 16))
