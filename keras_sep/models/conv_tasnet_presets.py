"""The configurations of Conv-TasNet that were published, by name."""

# Table II of Luo & Mesgarani 2019 (arXiv 1809.07454): N, L, B, H, Sc, X, R.
_TABLE_II = [
    (128, 40, 128, 256, 128, 7, 2),
    (256, 40, 128, 256, 128, 7, 2),
    (512, 40, 128, 256, 128, 7, 2),
    (512, 40, 128, 256, 256, 7, 2),
    (512, 40, 128, 512, 128, 7, 2),
    (512, 40, 128, 512, 512, 7, 2),
    (512, 40, 256, 256, 256, 7, 2),
    (512, 40, 256, 512, 256, 7, 2),
    (512, 40, 256, 512, 512, 7, 2),
    (512, 40, 128, 512, 128, 6, 4),
    (512, 40, 128, 512, 128, 4, 6),
    (512, 40, 128, 512, 128, 8, 3),
    (512, 32, 128, 512, 128, 8, 3),
    (512, 16, 128, 512, 128, 8, 3),
]


def _configuration(filters, kernel_size, bottleneck, hidden, skip, num_blocks, num_repeats):
    return {
        "filters": filters,
        "kernel_size": kernel_size,
        "bottleneck_dim": bottleneck,
        "hidden_dim": hidden,
        "skip_dim": skip,
        "num_blocks": num_blocks,
        "num_repeats": num_repeats,
    }


PRESETS = {"n{}_l{}_b{}_h{}_sc{}_x{}_r{}".format(*row): _configuration(*row) for row in _TABLE_II}
PRESETS["paper_best"] = PRESETS["n512_l16_b128_h512_sc128_x8_r3"]
PRESETS["paper_causal"] = {
    **PRESETS["paper_best"],
    "causal": True,
    "normalization": "cumulative",
}
PRESETS["wide_kernel"] = {
    **PRESETS["paper_best"],
    "kernel_size": 256,
    "strides": 16,
    "num_repeats": 4,
    "mask_activation": "sigmoid",
}
