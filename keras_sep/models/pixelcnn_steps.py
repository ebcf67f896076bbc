"""One position of a `PixelCNN` at a time, with one position's work."""

from keras import ops


class PixelCNNSteps:
    """The methods of `PixelCNN` that go through grids in raster order.

    What a position needs of those before it is kept from step to step, so that nothing is computed
    twice.
    """

    def initial_state(self, shape: tuple[int, int], batch_size: int, labels=None, condition=None):
        """What `step` and `start_row` carry, before the first position: a flat list of tensors.

        Args:
            shape: Rows and columns of the grids.
            batch_size: Grids.
            labels: Classes `(batch,)`, if the model has them.
            condition: Coarser grids, if the model has them.

        It begins with the context, if there is a condition; then come each block's three tensors
        (`GatedPixelBlock.initial_state`), and last the keys and values of each attention layer.
        """
        self._check_conditions(labels, condition)
        context = self._context(labels, condition, shape)
        state = [] if context is None else [context]
        for block in self.blocks:
            state += block.initial_state(shape[1], batch_size, self.filters)
        for attention in self.attention.values():
            state += attention.initial_state(shape, batch_size)
        return state

    def start_row(self, codes, row, state):
        """The state at the first position of a row: all vertical stacks move down by a row."""
        context, blocks, attention = self._split(state)
        above = ops.take(codes, ops.maximum(row - 1, 0), axis=1)
        vertical = self.embedding(above)[:, None]
        vertical = vertical * ops.cast(row > 0, vertical.dtype)
        if context is not None and context.shape[1] > 1:
            context = ops.take(context, row, axis=1)[:, None]
        started = []
        for block, (past, _, left) in zip(self.blocks, blocks, strict=True):
            vertical, past, link = block.start_row(vertical, past, context)
            started += [past, link, ops.zeros_like(left)]
        return [*state[: len(state) - len(started) - len(attention)], *started, *attention]

    def continue_row(self, codes, row, column, state):
        """Logits `(batch, num_embeddings)` at a position of a row that was started; new state."""
        context, blocks, attention = self._split(state)
        shape = codes.shape[1:]
        left = ops.take(ops.take(codes, row, axis=1), ops.maximum(column - 1, 0), axis=1)
        horizontal = self.embedding(left)
        horizontal = horizontal * ops.cast(column > 0, horizontal.dtype)
        stepped, attended = [], []
        for index, (block, (past, link, left)) in enumerate(zip(self.blocks, blocks, strict=True)):
            horizontal, left = block.step(horizontal, left, ops.take(link, column, axis=1))
            stepped += [past, link, left]
            if str(index) in self.attention:
                pair = attention[len(attended) : len(attended) + 2]
                update, pair = self.attention[str(index)].step(
                    horizontal, row * shape[1] + column, shape, pair
                )
                horizontal = horizontal + update
                attended += pair
        lead = [] if context is None else [context]
        return self._head(horizontal), [*lead, *stepped, *attended]

    def step(self, codes, position, state):
        """The distribution at one position, with one position's work.

        Args:
            codes: int32 `(batch, rows, columns)`; from `position` on any.
            position: Scalar integer in raster order: 0 at first, then each once. The row's vertical
                stacks are run at its first position.
            state: From `initial_state`, or the step before.

        Returns: logits `(batch, num_embeddings)`, as `call` gives there, and the new state.
        """
        position = ops.convert_to_tensor(position, "int32")
        row, column = position // codes.shape[2], position % codes.shape[2]
        state = ops.cond(
            column == 0,
            lambda: self.start_row(codes, row, state),
            lambda: list(state),
        )
        return self.continue_row(codes, row, column, state)

    def _split(self, state):
        """Context or None, each block's three tensors, and the attention's."""
        is_conditional = self.num_classes is not None or self.condition_num_embeddings is not None
        context, state = (state[0], state[1:]) if is_conditional else (None, state)
        end = 3 * self.num_layers
        blocks = [state[start : start + 3] for start in range(0, end, 3)]
        return context, blocks, state[end:]
