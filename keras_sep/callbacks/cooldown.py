"""A learning rate that ends near zero."""

import keras


class Cooldown(keras.callbacks.Callback):
    """Lowers the learning rate linearly over the last epochs, to almost zero.

    A rate that is right for most of a training leaves noise in the weights; the last epochs at
    falling rates take it out. The epochs of the cooldown have n/(n+1), …, 1/(n+1) of the rate that
    the epoch before the cooldown had. It goes on where it was when `fit` resumes with the
    optimizer's state.

    Args:
        num_epochs: Epochs of the cooldown (n), at the end of those that `fit` is asked for.

    Source: Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations" (arXiv 2405.18392), section 3.
    """

    def __init__(self, num_epochs: int):
        super().__init__()
        self.num_epochs = num_epochs

    def on_epoch_begin(self, epoch, logs=None):
        left = self.params["epochs"] - epoch
        if left <= self.num_epochs:
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            self.model.optimizer.learning_rate = rate * left / (left + 1)
