"""What is run, recorded and forgotten, with a processor that pretends to be a GPU.

Real graphs are replayed where there is a GPU, in `test_folded_conv_tasnet.py`.
"""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

if keras.backend.backend() != "torch":
    pytest.skip("of PyTorch", allow_module_level=True)

import torch

from keras_sep.export.replayed_torch import Replayed


class Graph:
    """Runs again what ran while it was recorded: the function, from its inputs to its outputs."""

    recorded = None

    def replay(self):
        function, inputs, outputs = self.recorded
        outputs.copy_(function(inputs))


@pytest.fixture
def doubled(monkeypatch):
    """A function that is replayed, with `calls` and `recorded`, the shapes that came."""
    calls, recorded, open_graphs = [], [], []

    def double(x):
        outputs = 2 * x
        calls.append(tuple(x.shape))
        if open_graphs:
            open_graphs.pop().recorded = (lambda x: 2 * x, x, outputs)
            recorded.append(tuple(x.shape))
        return outputs

    @contextmanager
    def record(graph, **_):
        open_graphs.append(graph)
        yield

    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    stream = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    replayed = Replayed(double, ops.zeros(()).device)
    replayed.calls, replayed.recorded = calls, recorded
    return replayed


def test_the_second_call_records_and_the_third_replays(doubled):
    inputs = [np.full((1, 3), n, "float32") for n in range(5)]
    outputs = [doubled(x) for x in inputs]
    np.testing.assert_array_equal(torch.cat(outputs)[:, 0].cpu(), [0, 2, 4, 6, 8])
    assert doubled.calls == [(1, 3)] * 2
    assert doubled.recorded == [(1, 3)]


def test_the_last_four_shapes_are_remembered(doubled):
    for frames in (1, 2, 3, 4, 1, 5, 1, 2):
        doubled(np.ones((1, frames), "float32"))
    # 1 came again before it was forgotten, 2 did not.
    assert doubled.recorded == [(1, 1)]
    assert doubled.calls.count((1, 2)) == 2


def test_keeps_no_gradients(doubled):
    inputs = torch.ones(1, 3, requires_grad=True)
    with torch.inference_mode():
        doubled(inputs)
        doubled(inputs)
    assert not any(doubled(inputs).requires_grad for _ in range(2))
