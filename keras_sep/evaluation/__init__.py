"""How well a separator does on whole recordings: SI-SNR, SDR, STOI and PESQ."""

from keras_sep.evaluation.example import Example
from keras_sep.evaluation.measures import METRICS
from keras_sep.evaluation.open_data import open_data
from keras_sep.evaluation.results import Evaluation
from keras_sep.evaluation.scoring import evaluate

__all__ = ["METRICS", "Evaluation", "Example", "evaluate", "open_data"]
