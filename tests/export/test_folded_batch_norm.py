"""Networks with folded normalizations give the same outputs."""

import keras
import numpy as np
import pytest
from numerics import run

from keras_sep.export import fold_batch_norm
from keras_sep.models import MobileNet


@pytest.mark.parametrize(("version", "alpha"), [("v1", 0.25), ("v3_small", 0.35)])
def test_equal_outputs(version, alpha):
    rng = np.random.default_rng(0)
    model = MobileNet(version, alpha, num_classes=5)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean"):
            weight.assign(rng.normal(size=weight.shape))
    folded = fold_batch_norm(model)
    assert not [weight for weight in folded.weights if weight.name == "gamma"]
    images = rng.normal(size=(2, 32, 40, 3)).astype("float32")
    logits = run(lambda x: model(x), images)
    assert np.ptp(logits) > 0.01
    np.testing.assert_allclose(
        run(lambda x: folded(x), images), logits, atol=1e-4 * max(1, np.abs(logits).max())
    )


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="must be a MobileNet or SoundClassifier, got Sequential"):
        fold_batch_norm(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
