"""What the VAE and the VQ-VAEs share: training on inputs that are their own targets."""

import keras
from keras import ops

from keras_sep.layers.backend_forms import sum_over_replicas


class Autoencoder(keras.Model):
    """Base of models whose outputs are a dictionary with a `reconstruction` and their losses.

    `fit(x)` takes the inputs as targets, `fit(x, y)` other targets. The loss and the metrics of
    `compile` are those of the reconstruction; to the loss come the means of the outputs named in
    `latent_losses`, and `fit` logs each part by its name.
    """

    latent_losses: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.loss_means = [
            keras.metrics.Mean(name) for name in ("reconstruction_loss", *self.latent_losses)
        ]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if self.loss is None:
            raise ValueError(
                'loss must be given to compile: "mse", "mae" or another Keras loss, for the '
                "reconstruction"
            )
        target = x if y is None else y
        losses = [
            super().compute_loss(x, target, y_pred["reconstruction"], sample_weight, training),
            *[ops.mean(ops.cast(y_pred[name], "float32")) for name in self.latent_losses],
        ]
        # Keras adds up the replicas' losses, and has divided its own by their number already.
        replicas = sum_over_replicas(ops.ones(()))
        losses[0] = losses[0] * replicas
        batch = ops.shape(y_pred["reconstruction"])[0]
        for mean, loss in zip(self.loss_means, losses, strict=True):
            mean.update_state(loss, sample_weight=batch)
        return sum(losses) / replicas

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        target = x if y is None else y
        return super().compute_metrics(x, target, y_pred["reconstruction"], sample_weight)
