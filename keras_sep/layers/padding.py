"""Zeros around images and frames, as the frameworks put them."""

from keras import ops

PADDINGS = ("same", "torch", "keras")


def check_padding(padding: str, allowed: tuple[str, ...] = PADDINGS) -> None:
    """Raises ValueError for a name that is not among those allowed."""
    if padding not in allowed:
        raise ValueError(f"padding must be one of {allowed}, got {padding!r}")


def zeros(size, kernel_size: int, strides: int, dilation: int, padding: str) -> tuple:
    """Zeros before and after one axis.

    Args:
        size: Of the axis, an int or a tensor.
        kernel_size: Taps along it.
        strides: From one output to the next.
        dilation: From one tap to the next.
        padding: "valid", none; "causal", the kernel's reach before; "same", as TensorFlow, so that
            the output has `ceil(size / strides)` positions; "torch", half the reach on both sides,
            as torchvision and timm; "keras", what "same" adds to a whole number of strides,
            whatever the size, as the strided layers of `keras.applications`. The last three are
            one where the strides are 1 and the kernel is odd, "same" and "keras" also where the
            strides divide the size.
    """
    reach = dilation * (kernel_size - 1)
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach, 0
    if padding == "torch":
        return reach // 2, reach // 2
    total = reach + 1 - strides
    if padding == "same" and strides > 1:
        total = total + (-size) % strides
    # An int stays one: JAX pads by nothing else.
    total = max(total, 0) if isinstance(total, int) else ops.maximum(total, 0)
    return total // 2, total - total // 2


def output_size(size, kernel_size: int, strides: int, dilation: int, padding: str):
    """Positions of the output along an axis, None where the size is None."""
    if size is None:
        return None
    before, after = zeros(size, kernel_size, strides, dilation, padding)
    return (before + size + after - dilation * (kernel_size - 1) - 1) // strides + 1


def check_fits(sizes, kernel_size: int, strides: int, dilation: int, padding: str) -> None:
    """Raises ValueError if a kernel reaches beyond axes of these sizes, None where unknown."""
    new_sizes = [output_size(size, kernel_size, strides, dilation, padding) for size in sizes]
    if any(isinstance(size, int) and size < 1 for size in new_sizes):
        raise ValueError(
            f"inputs must have at least {dilation * (kernel_size - 1) + 1} positions along each "
            f"axis, padding included, for a kernel_size of {kernel_size} with a dilation_rate of "
            f'{dilation}, got {tuple(sizes)} with padding={padding!r}; padding="same" takes any'
        )


def pad(inputs, kernel_size: int, strides: int, dilation: int, padding: str):
    """Images `(batch, height, width, channels)`, or `(batch, frames, channels)`, with zeros."""
    if padding == "valid":
        return inputs
    sizes = ops.shape(inputs)[1:-1]
    widths = [zeros(size, kernel_size, strides, dilation, padding) for size in sizes]
    return ops.pad(inputs, ((0, 0), *widths, (0, 0)))


def named_padding(kernel_size: int, strides: int, dilation: int, padding: str) -> str:
    """The name "same", which backends know, where it means what `padding` does, else `padding`."""
    is_symmetric = strides == 1 and dilation * (kernel_size - 1) % 2 == 0
    return "same" if is_symmetric and padding in PADDINGS else padding
