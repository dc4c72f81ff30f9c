"""From bytes to embedded patches in one product: what every patch is multiplied with is folded into the weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class FoldedPatches(nn.Module):  # type: ignore[misc]
    """Embed the patches of views: uint8 [V, H, W, 3] to [V, P, C], row by row.

    Equals a convolution, with the stride of its kernel's size, over views that were divided by 255, less the mean, over
    the deviation.

    Args:
        weight: Of the convolution, [C, 3, patch, patch].
        bias: Of the convolution, [C]; None for none.
        mean: Of each colour.
        std: Of each colour.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.patch_size = weight.shape[-1]
        with torch.no_grad():
            scaled = weight.double() / torch.tensor(std, dtype=torch.float64)[:, None, None]
            shift = -(scaled * torch.tensor(mean, dtype=torch.float64)[:, None, None]).sum(dim=(1, 2, 3))
            if bias is not None:
                shift = shift + bias.double()
            # Rows, columns and colours in the order in which the bytes lie, so that whole rows of a patch are moved.
            folded = (scaled / 255).permute(0, 2, 3, 1).flatten(1)
        self.register_buffer("weight", folded.to(weight.dtype))
        self.register_buffer("bias", shift.to(weight.dtype))

    def forward(self, views: Tensor) -> Tensor:
        """Return [V, P, C]."""
        count, height, width, _ = views.shape
        side = self.patch_size
        # Bytes become numbers first: TensorRT moves no bytes about.
        cells = views.to(self.weight.dtype).reshape(count, height // side, side, width // side, side, 3)
        return functional.linear(cells.transpose(2, 3).flatten(3).flatten(1, 2), self.weight, self.bias)
