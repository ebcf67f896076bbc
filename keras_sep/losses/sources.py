"""What losses of several sources share: checks of their shapes, and the loss they are made of."""

import keras


class LossOfSources(keras.losses.Loss):
    """A loss of all sources of an example, made of a loss of one source and one estimate.

    Raises:
        ValueError: `loss` is no Keras loss.
    """

    def __init__(self, loss: keras.losses.Loss, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(loss, keras.losses.Loss):
            raise ValueError(f"loss must be a keras.losses.Loss, got {loss!r}")
        self.loss = loss

    def get_config(self):
        return {**super().get_config(), "loss": keras.losses.serialize(self.loss)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.losses.deserialize(config["loss"])})


def check_sources(references, estimates):
    """Raises ValueError unless both have the same shape `(batch, num_sources, samples)`."""
    check_waveforms(references, estimates)
    if references.shape[1] != estimates.shape[1]:
        raise ValueError(
            f"as many estimates as references are needed, got {estimates.shape[1]} estimates for "
            f"{references.shape[1]} references"
        )


def check_waveforms(references, estimates):
    """Raises ValueError unless both have three axes and the same number of samples."""
    if len(references.shape) != 3 or len(estimates.shape) != 3:
        raise ValueError(
            "sources must have the shape (batch, num_sources, samples), got "
            f"{tuple(references.shape)} and {tuple(estimates.shape)}"
        )
    check_lengths(references, estimates)


def check_lengths(references, estimates):
    """Raises ValueError if the last axes are known and differ."""
    lengths = references.shape[-1], estimates.shape[-1]
    if None not in lengths and lengths[0] != lengths[1]:
        raise ValueError(
            f"estimates must be as long as references, got {lengths[1]} samples for {lengths[0]}"
        )
