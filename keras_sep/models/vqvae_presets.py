"""The configurations of VQ-VAE and VQ-VAE-2 that were published, by name."""

# Table 3 of the appendix of Razavi et al. 2019 (arXiv 1906.00446).
VQVAE2_PRESETS = {
    "imagenet_256": {"num_levels": 2, "strides": 4},
    "ffhq_1024": {"num_levels": 3, "strides": 8},
}

# Sections 4.2 and 4.3 of van den Oord et al. 2017 (arXiv 1711.00937).
VQVAE_PRESETS = {
    "imagenet_128": {"strides": 4},
    "audio": {"strides": 64, "channels": 1, "rank": 1},
}


def preset_arguments(presets: dict, preset: str, arguments: dict) -> dict:
    """Arguments of a preset with others besides, or instead.

    Raises:
        ValueError: There is no such preset; the message lists them.
    """
    if preset not in presets:
        raise ValueError(f"preset must be one of {', '.join(presets)}, got {preset!r}")
    return {**presets[preset], **arguments}
