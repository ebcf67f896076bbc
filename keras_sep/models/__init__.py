"""Complete models, written to read like their papers."""

from keras_sep.models.conv_tasnet import ConvTasNet
from keras_sep.models.costs import LayerCost, layer_costs, multiply_adds
from keras_sep.models.mobilenet import MobileNet
from keras_sep.models.pixelcnn import PixelCNN
from keras_sep.models.sound_classifier import SoundClassifier
from keras_sep.models.vae import VAE
from keras_sep.models.vqvae import VQVAE
from keras_sep.models.vqvae2 import VQVAE2

__all__ = [
    "VAE",
    "VQVAE",
    "VQVAE2",
    "ConvTasNet",
    "LayerCost",
    "MobileNet",
    "PixelCNN",
    "SoundClassifier",
    "layer_costs",
    "multiply_adds",
]
