"""What the parts of a Conv-TasNet cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PartCost:
    """One row of the table.

    Attributes:
        name: The part.
        channels: Of its output.
        dilation: Of its depthwise convolution, None where there is none.
        receptive_field: Samples of the mixture that its output depends on, norms aside.
        parameters: Trainable or not.
        multiply_adds: Per second of mixture, of products and convolutions.
    """

    name: str
    channels: int
    dilation: int | None
    receptive_field: int
    parameters: int
    multiply_adds: int


def part_costs(model) -> list[PartCost]:
    """The parts of a built `ConvTasNet` from the mixture to the sources."""
    frames_per_second = model.sample_rate / model.strides
    rows, frames = [], 1

    def add(name, channels, layers, products, dilation=None):
        field = (frames - 1) * model.strides + model.kernel_size
        parameters = sum(layer.count_params() for layer in layers)
        rate = round(products * frames_per_second)
        rows.append(PartCost(name, channels, dilation, field, parameters, rate))

    tcn, filters, bottleneck = model.separator, model.filters, model.bottleneck_dim
    add("encoder", filters, [model.encoder], model.kernel_size * filters)
    add("bottleneck", bottleneck, [tcn.norm, tcn.bottleneck], filters * bottleneck)
    for index, block in enumerate(tcn.blocks):
        frames += (model.conv_kernel_size - 1) * block.dilation_rate
        products = (
            bottleneck + model.conv_kernel_size + block.separable_conv.filters
        ) * model.hidden_dim
        add(f"block {index}", block.separable_conv.filters, [block], products, block.dilation_rate)
    masked = model.num_sources * filters
    products = (model.skip_dim or bottleneck) * masked
    add("masks", masked, [tcn.prelu, tcn.masks], products)
    add("decoder", model.num_sources, [model.decoder], masked * (1 + model.kernel_size))
    return rows
