import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from extraction.stem import Stem
from extraction.winograd import WinogradBlock, WinogradConv


def conv_of(C, K, seed=0):
    torch.manual_seed(seed)
    return nn.Conv2d(C, K, 3, padding=1)


def in_doubles(conv, x):
    """The convolution by PyTorch in float64, as the reference."""
    y = nn.functional.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)
    return y.float()


@pytest.mark.parametrize(
    ("N", "C", "K", "H", "W"),
    [
        (2, 64, 64, 56, 56),  # the sizes of ResNet18
        (2, 128, 128, 28, 28),
        (2, 256, 256, 14, 14),
        (3, 512, 512, 7, 7),
        (1, 3, 5, 1, 1),  # smaller than a tile, not a multiple of it, not square
        (2, 4, 2, 5, 9),
        (1, 1, 1, 4, 4),
        (7, 8, 16, 3, 13),
    ],
)
def test_it_matches_the_convolution_for_any_size(N, C, K, H, W):
    conv = conv_of(C, K)
    x = torch.randn(N, C, H, W)
    with torch.inference_mode():
        y = WinogradConv(conv)(x.to(memory_format=torch.channels_last))
        expected = in_doubles(conv, x)
    assert y.shape == expected.shape and y.dtype == torch.float32
    assert torch.allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_its_error_against_float64_is_small():
    conv, x = conv_of(256, 256), torch.randn(4, 256, 14, 14).relu()
    with torch.inference_mode():
        exact = in_doubles(conv, x)
        scale = exact.abs().mean()
        error = (WinogradConv(conv)(x) - exact).abs().max() / scale
    assert error < 1e-4


def test_addition_and_relu_come_after_the_convolution():
    conv = conv_of(6, 6)
    x, shortcut = torch.randn(2, 6, 10, 7), torch.randn(2, 6, 10, 7)
    with torch.inference_mode():
        expected = in_doubles(conv, x) + shortcut
        fast = WinogradConv(conv)
        assert torch.allclose(fast(x, add=shortcut), expected, atol=1e-5)
        assert torch.allclose(fast(x, add=shortcut, relu=True), expected.relu(), atol=1e-5)
        assert torch.allclose(fast(x, relu=True), in_doubles(conv, x).relu(), atol=1e-5)


def test_nan_inputs_give_nan_outputs():
    """Frames cannot cause NaN, but broken weights can; they must not give plausible features."""
    conv, x = conv_of(3, 3), torch.zeros(2, 3, 8, 8)
    x[0, 0, 0, 0] = float("nan")
    with torch.inference_mode():
        y = WinogradConv(conv)(x)
    assert torch.isnan(y[0]).any() and not torch.isnan(y[1]).any()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_matches_the_residual_block(stride):
    torch.manual_seed(0)
    shortcut = nn.Conv2d(8, 12, 1, stride) if stride == 2 else None
    block = BasicBlock(8 if stride == 2 else 12, 12, stride, shortcut).eval()
    block.bn1, block.bn2 = nn.Identity(), nn.Identity()
    for name in ("conv1", "conv2"):  # with a bias, as build_encoder makes them
        old = getattr(block, name)
        setattr(block, name, nn.Conv2d(old.in_channels, old.out_channels, 3, old.stride, padding=1))
    x = torch.randn(2, 8 if stride == 2 else 12, 14, 14)
    with torch.inference_mode():
        given = x.to(memory_format=torch.channels_last, copy=True)
        assert torch.allclose(WinogradBlock(block)(given), block(x), atol=1e-5)
    assert torch.equal(given, x)


@pytest.mark.parametrize(("N", "H", "W"), [(3, 224, 224), (1, 8, 8), (2, 16, 40)])
def test_the_stem_matches_convolution_relu_and_max_pool(N, H, W):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 64, 7, 2, 3)
    centre = torch.tensor([123.7, 116.3, 103.5])
    pixels = torch.randint(0, 256, (N, 3, H, W), dtype=torch.uint8)
    with torch.inference_mode():
        y = Stem(conv, centre)(pixels)
        values = pixels.double() - centre.view(3, 1, 1)
        expected = nn.functional.max_pool2d(conv.double()(values).relu(), 3, 2, 1).float()
    assert y.shape == expected.shape and y.dtype == torch.float32
    assert torch.allclose(y, expected, rtol=1e-5, atol=1e-3)  # the values are about 100
    assert y.is_contiguous(memory_format=torch.channels_last)
