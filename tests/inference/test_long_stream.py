"""A long stream through a stream: nothing grows, nothing drifts."""

import numpy as np
from long_stream import CHUNK, run_stream

from keras_sep.inference import StreamingSeparator
from keras_sep.models import ConvTasNet


def test_two_minutes():
    """`tests/benchmarks/streaming.py --hours 24` does the same for a day."""
    model = ConvTasNet.from_preset(
        "paper_causal", filters=8, bottleneck_dim=4, hidden_dim=8, skip_dim=4, num_blocks=2
    )
    report = run_stream(StreamingSeparator(model, CHUNK / 8000), seconds=120, seed=0)
    assert report["samples_in"] == report["samples_out"] == 120 * 8000
    assert report["grown_megabytes"] < 30
    np.testing.assert_allclose(report["moments"], report["exact_moments"], rtol=1e-5)
