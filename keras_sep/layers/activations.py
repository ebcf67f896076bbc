"""Activations by name."""

import keras


@keras.saving.register_keras_serializable(package="keras_sep")
def leaky_relu(x):
    """Leaky ReLU with the slope of its paper (Maas et al. 2013), 0.01; Keras's own has 0.2."""
    return keras.activations.leaky_relu(x, negative_slope=0.01)


def get_activation(identifier):
    """What Keras gives for an identifier, except that "leaky_relu" has the slope 0.01."""
    return leaky_relu if identifier == "leaky_relu" else keras.activations.get(identifier)
