"""A function as a GPU runs it without Python, for PyTorch."""

import threading
from collections.abc import Callable

import torch
from keras import ops

_MOST_SHAPES = 4
# PyTorch records for one thread at a time.
_LOCK = threading.Lock()


class Replayed:
    """A function that replays a graph of a GPU's work, one for each shape.

    Called from Python, each of a thousand small operations keeps the GPU waiting. The first call
    with a shape runs the function, so that all is compiled and chosen, and the second one records
    it. The last four shapes are remembered; each graph keeps the memory that the function needs.

    Args:
        function: From a float32 tensor to another, with the same operations whatever the values.
        device: The GPU.

    Call argument: the tensor, or a NumPy array. Returns a tensor, which gives no gradients.
    """

    def __init__(self, function: Callable, device: torch.device):
        self.function = function
        self.device = device
        self._graphs = {}  # None for a shape that came once; the last one used comes last

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, inputs):
        inputs = ops.convert_to_tensor(inputs)
        shape = tuple(inputs.shape)
        with _LOCK, torch.cuda.device(self.device):
            is_known = shape in self._graphs
            recorded = self._graphs.pop(shape, None)
            if len(self._graphs) == _MOST_SHAPES:
                del self._graphs[next(iter(self._graphs))]
            if not is_known:
                self._graphs[shape] = None
                return self.function(inputs)
            self._graphs[shape] = recorded = recorded or self._record(shape)
            graph, recorded_inputs, outputs = recorded
            recorded_inputs.copy_(inputs)
            graph.replay()
            copied = outputs.clone()
            # The next call, maybe of another stream, writes where this one reads.
            torch.cuda.current_stream().synchronize()
            return copied

    def _record(self, shape):
        inputs = torch.zeros(shape, device=self.device)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = self.function(inputs)
        return graph, inputs, outputs
