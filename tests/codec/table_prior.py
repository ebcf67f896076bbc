"""A prior that is a table of logits: easy to check, and no PixelCNN."""

import keras
import numpy as np
from keras import ops


class TablePrior(keras.Model):
    """Logits by the code before, in raster order, by label and by the coarser code there."""

    def __init__(self, num_embeddings, num_classes=None, condition_num_embeddings=None, seed=0):
        super().__init__()
        self.num_embeddings = num_embeddings
        self.num_classes = num_classes
        self.condition_num_embeddings = condition_num_embeddings
        rng = np.random.default_rng(seed)
        self.tables = []
        for rows in (num_embeddings + 1, num_classes or 1, condition_num_embeddings or 1):
            table = self.add_weight((rows, num_embeddings), trainable=False)
            table.assign(2 * rng.normal(size=table.shape))
            self.tables.append(table)
        self.built = True

    def initial_state(self, shape, batch_size, labels=None, condition=None):
        labels = ops.zeros(batch_size, "int32") if labels is None else labels
        if condition is None:
            condition = ops.zeros((batch_size, *shape), "int32")
        else:
            for axis in (1, 2):
                condition = ops.repeat(condition, shape[axis - 1] // condition.shape[axis], axis)
        return [labels, ops.reshape(condition, (batch_size, -1))]

    def step(self, codes, position, state):
        labels, condition = state
        flat = ops.reshape(codes, (codes.shape[0], -1))
        # The first position's code before is one more than there are.
        before = ops.take(flat, ops.maximum(position - 1, 0), axis=1)
        before = ops.where(position > 0, before, self.num_embeddings)
        logits = (
            ops.take(self.tables[0], before, axis=0)
            + ops.take(self.tables[1], labels, axis=0)
            + ops.take(self.tables[2], ops.take(condition, position, axis=1), axis=0)
        )
        return logits, state

    def bits(self, codes, label=0, condition=None):
        """Information of codes `(batch, rows, columns)`, by NumPy."""
        before, classes, coarser = (ops.convert_to_numpy(t).astype("float64") for t in self.tables)
        total = 0.0
        for grid in range(len(codes)):
            last = self.num_embeddings
            for (row, column), code in np.ndenumerate(codes[grid]):
                above = 0
                if condition is not None:
                    scale = codes.shape[1] // condition.shape[1]
                    above = condition[grid, row // scale, column // scale]
                logits = before[last] + classes[label] + coarser[above]
                total += np.log2(np.exp(logits).sum()) - logits[code] / np.log(2)
                last = code
        return total

    def get_config(self):
        return {"num_embeddings": self.num_embeddings}
