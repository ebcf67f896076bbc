"""The state of a stream in few tensors: runtimes spend time on each one that goes in and out."""

from keras import ops


def kinds(state: list) -> list:
    """Shape without batch axis, and type, of each tensor."""
    # Integers: while PyTorch records, sizes are tensors, of which no two are equal.
    return [(tuple(map(int, values.shape[1:])), str(values.dtype)) for values in state]


def pack(state: list, state_kinds: list) -> list:
    """Stacks the tensors of one kind on a new axis 1, kinds in order of appearance."""
    groups = {kind: [] for kind in state_kinds}
    for kind, values in zip(state_kinds, state, strict=True):
        groups[kind].append(values)
    return [ops.stack(values, axis=1) for values in groups.values()]


def unpack(packed: list, state_kinds: list) -> list:
    """Takes `pack` back."""
    pieces = {
        kind: iter(ops.unstack(values, state_kinds.count(kind), axis=1))
        for kind, values in zip(dict.fromkeys(state_kinds), packed, strict=True)
    }
    return [next(pieces[kind]) for kind in state_kinds]
