"""A stream of any length, with what there is to say about it afterwards."""

from pathlib import Path

import numpy as np
from keras import ops

CHUNK = 512


def run_stream(separator, seconds, seed=0, progress=lambda chunks: chunks, chunk_size=CHUNK):
    """Feeds noise of changing level in whole chunks of `chunk_size` samples, whole hops.

    Returns a dict: samples that went in and came out, megabytes that the process grew after a
    warm-up, the first normalization's mean and mean square after the last sample, and those of
    all its inputs in float64.
    """
    rng = np.random.default_rng(seed)
    model = separator.model
    kernel = ops.convert_to_numpy(model.encoder.kernel)[:, 0].astype("float64")
    samples_in = samples_out = 0
    total, frames, before = np.zeros(2), 0, 0
    past = np.zeros(model.kernel_size - model.strides)
    chunks = int(seconds * model.sample_rate) // chunk_size
    for index in progress(range(chunks)):
        level = 0.1 * 10 ** np.sin(index / 500)
        chunk = (level * rng.normal(size=chunk_size)).astype("float32")
        samples_out += separator.feed(chunk).shape[-1]
        samples_in += chunk_size
        heard = np.concatenate([past, chunk])
        windows = np.lib.stride_tricks.sliding_window_view(heard, model.kernel_size)
        features = windows[:: model.strides] @ kernel
        total += features.sum(), np.square(features).sum()
        frames += features.size
        past = heard[chunk_size:]
        if index == min(200, chunks // 2):
            before = _resident()
    grown = _resident() - before
    # The first norm's: float64, or float32 and what they rounded off.
    moments = ops.convert_to_numpy(separator._state[2]).astype("float64")
    moments = moments[0] if moments.ndim == 2 else moments[0, :2, 0].sum(0)
    samples_out += separator.flush().shape[-1]
    return {
        "samples_in": samples_in,
        "samples_out": samples_out,
        "grown_megabytes": grown / 1e6,
        "moments": moments.tolist(),
        "exact_moments": (total / frames).tolist(),
    }


def _resident():
    """Bytes of the process's own memory: pages of files come and go with the machine's load."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])
