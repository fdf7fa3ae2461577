"""Built-in networks, so that the common case needs no code. A factory is ``f(shape, classes, **params) -> Module``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from locard.errors import SettingsError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
}


def logistic(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Softmax regression: one linear layer.

    >>> logistic((4,), 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(_size(shape), classes))


def mlp(
    shape: tuple[int, ...],
    classes: int,
    *,
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """A multi-layer perceptron.

    Raises:
        SettingsError: an unknown activation, a width below 1, or a dropout outside [0, 1).

    >>> mlp((2, 2), 3, hidden=[5])(torch.zeros(7, 2, 2)).shape
    torch.Size([7, 3])
    """
    make = _activation(activation)
    _share("dropout", dropout)
    _widths("hidden", hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    width = _size(shape)
    for size in hidden:
        layers += [nn.Linear(width, size), make()]
        layers += [nn.Dropout(dropout)] if dropout else []
        width = size
    return nn.Sequential(*layers, nn.Linear(width, classes))


def cnn(
    shape: tuple[int, ...],
    classes: int,
    *,
    channels: Sequence[int] = (16, 32),
    kernel: int = 5,
    dense: int = 128,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Convolutions of these channels, each halved by max pooling, then one dense layer.

    Args:
        shape: of one record: ``(height, width)`` or ``(channels, height, width)``.
        classes: how many.
        channels: of each convolution (same padding, stride 1).
        kernel: edge of the kernels, odd.
        dense: width of the dense layer.
        activation: after each convolution and the dense layer.
        dropout: before the last layer.

    Raises:
        SettingsError: records that are no images, or too small to be halved this often.

    >>> cnn((28, 28), 10)(torch.zeros(2, 28, 28)).shape
    torch.Size([2, 10])
    """
    make = _activation(activation)
    _share("dropout", dropout)
    _widths("channels", channels)
    planes, height, width = _image(shape, "cnn")
    if kernel % 2 == 0 or kernel < 1:
        raise SettingsError(f"target.params: kernel: an odd number is needed, found {kernel}. Choose, for example, 5.")
    if min(height, width) < 2 ** len(channels):
        raise SettingsError(
            f"target.params: channels: images of at least {2 ** len(channels)} pixels are needed to be halved "
            f"{len(channels)} times, found {height} x {width}. Give fewer channels."
        )
    layers: list[nn.Module] = [_AsImage()]
    for size in channels:
        layers += [nn.Conv2d(planes, size, kernel, padding=kernel // 2), make(), nn.MaxPool2d(2)]
        planes, height, width = size, height // 2, width // 2
    layers += [nn.Flatten(), nn.Linear(planes * height * width, dense), make()]
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(dense, classes))


def resnet(
    shape: tuple[int, ...], classes: int, *, channels: Sequence[int] = (16, 32), blocks: int = 1, norm: bool = True
) -> nn.Module:
    """A small residual network: a stage of ``blocks`` residual blocks for each width, halved between stages.

    Source: He, Zhang, Ren, Sun 2016 (CVPR, arXiv:1512.03385), the blocks of its CIFAR networks.

    >>> resnet((3, 8, 8), 10, channels=[4, 8])(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """
    planes, _, _ = _image(shape, "resnet")
    _widths("channels", channels)
    layers: list[nn.Module] = [_AsImage(), nn.Conv2d(planes, channels[0], 3, padding=1, bias=not norm)]
    layers += [nn.BatchNorm2d(channels[0])] if norm else []
    layers += [nn.ReLU()]
    width = channels[0]
    for stage, size in enumerate(channels):
        for block in range(blocks):
            layers.append(_Residual(width, size, stride=2 if stage and not block else 1, norm=norm))
            width = size
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


BUILT_IN: dict[str, Callable[..., nn.Module]] = {"logistic": logistic, "mlp": mlp, "cnn": cnn, "resnet": resnet}


class _AsImage(nn.Module):
    """Grey images without a channel axis get one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unsqueeze(1) if x.dim() == 3 else x


class _Residual(nn.Module):
    """Two 3x3 convolutions and a short cut."""

    def __init__(self, inside: int, outside: int, *, stride: int, norm: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=not norm)
        self.first_norm = nn.BatchNorm2d(outside) if norm else nn.Identity()
        self.second = nn.Conv2d(outside, outside, 3, padding=1, bias=not norm)
        self.second_norm = nn.BatchNorm2d(outside) if norm else nn.Identity()
        same = stride == 1 and inside == outside
        self.short = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride=stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(out)) + self.short(x))


def default_module(shape: tuple[int, ...]) -> str:
    """``mlp`` for rows of a table, ``cnn`` for images.

    >>> default_module((108,)), default_module((28, 28))
    ('mlp', 'cnn')
    """
    return "cnn" if len(shape) in (2, 3) and min(shape[-2:]) >= 4 else "mlp"


def _size(shape: tuple[int, ...]) -> int:
    out = 1
    for axis in shape:
        out *= axis
    return out


def _image(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    if len(shape) not in (2, 3):
        raise SettingsError(
            f"target.module: {name} needs images [height, width] or [channels, height, width], found records of shape "
            f"{list(shape)}. Use mlp, or reshape the features."
        )
    return (1, *shape) if len(shape) == 2 else shape  # type: ignore[return-value]


def _activation(name: str) -> type[nn.Module]:
    if name not in ACTIVATIONS:
        raise SettingsError(
            f"target.params: activation: one of {', '.join(ACTIVATIONS)} is needed, found {name!r}. Mend the name, or "
            f"write a module of your own."
        )
    return ACTIVATIONS[name]


def _share(name: str, value: Any) -> None:
    if not 0.0 <= value < 1.0:
        raise SettingsError(f"target.params: {name}: a number from 0 to below 1 is needed, found {value}. Mend it.")


def _widths(name: str, values: Sequence[int]) -> None:
    if isinstance(values, str) or not all(isinstance(v, int) and v >= 1 for v in values):
        raise SettingsError(
            f"target.params: {name}: a list of whole numbers of at least 1 is needed, found {values!r}. Write, for "
            f"example, [64, 64]."
        )
