"""ResNet18's 3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3), for CPUs in float32.

    y = WinogradConv(conv)(x, add=shortcut, relu=True)

A tile of 4x4 outputs takes 36 multiplications per pair of channels instead of 144 (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4). Numba transforms the
input tiles, NumPy's BLAS computes 36 matrix products over the channels, and Numba transforms the
results back. PyTorch has no fast Winograd convolution for CPUs; benchmarks/README.md compares them.
"""

import threading

import numpy as np
import torch
from numba import njit
from torch import nn
from torchvision.models.resnet import BasicBlock

MOST_TILES = 200  # tiles at a time: as many as channels, but 32 to 200, so that they stay cached
KERNEL_TRANSFORM = torch.tensor(  # G of Lavin and Gray
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
ZERO, TWO, FOUR, FIVE, EIGHT = map(np.float32, (0, 2, 4, 5, 8))
_scratch = threading.local()


class WinogradConv(nn.Module):
    """A 3x3 convolution, stride 1, padding 1, with the addition and ReLU of a residual block."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        g, weight = KERNEL_TRANSFORM, conv.weight.detach().double()  # (K, C, 3, 3)
        kernels = torch.einsum("ai,bj,kcij->abck", g, g, weight)  # (6, 6, C, K)
        self.register_buffer("kernels", kernels.flatten(0, 1).float().contiguous())  # (36, C, K)
        self.register_buffer("bias", conv.bias.detach().clone())

    def forward(
        self, x: torch.Tensor, add: torch.Tensor | None = None, relu: bool = False
    ) -> torch.Tensor:
        """float32 (N, C, H, W) -> (N, K, H, W), channels_last.

        Adds `add`, float32 (N, K, H, W), to the result if given; then applies ReLU if relu is True.
        """
        N, C, H, W = x.shape
        K = len(self.bias)
        down, across = -(-H // 4), -(-W // 4)
        y = np.empty((N, H, W, K), np.float32)
        pixels, added = _rows(x), y if add is None else _rows(add)
        count = min(max(C, 32), MOST_TILES)
        tiles, sums = _scratch_arrays(count, C, K)
        for first in range(0, N * down * across, count):
            used = min(N * down * across - first, count)
            _to_tiles(pixels, first, tiles[:used], down, across)
            np.matmul(
                tiles[:used].transpose(1, 0, 2),  # (36, tiles, C)
                self.kernels.numpy(),
                out=sums[:used].transpose(1, 0, 2),  # (36, tiles, K)
            )
            _from_tiles(
                sums[:used], first, self.bias.numpy(), added, add is not None, relu, y, down, across
            )
        return torch.from_numpy(y).permute(0, 3, 1, 2)


def _rows(x: torch.Tensor) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C), without a copy if x is channels_last."""
    return x.permute(0, 2, 3, 1).contiguous().numpy()


def _scratch_arrays(tiles: int, C: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 arrays, (tiles, 36, C) and (tiles, 36, K), which each thread reuses."""
    kept = _scratch.__dict__
    for name, size in (("tiles", tiles * 36 * C), ("sums", tiles * 36 * K)):
        if name not in kept or kept[name].size < size:
            kept[name] = np.empty(size, np.float32)
    shapes = (tiles, 36, C), (tiles, 36, K)
    return tuple(
        kept[name][: np.prod(shape)].reshape(shape)
        for name, shape in zip(("tiles", "sums"), shapes, strict=True)
    )


@njit(nogil=True, fastmath=True, cache=True)
def _to_tiles(x, first, tiles, down, across):
    """Input transform: B^T d B of the 6x6 pieces d of x (N, H, W, C) -> tiles (..., 36, C).

    The pieces start 4 pixels apart; outside x they are 0.
    """
    _, H, W, C = x.shape
    piece = np.empty((6, 6, C), np.float32)
    for p in range(len(tiles)):
        n, place = divmod(first + p, down * across)
        top, left = place // across * 4 - 1, place % across * 4 - 1
        for i in range(6):
            for j in range(6):
                if 0 <= top + i < H and 0 <= left + j < W:
                    for c in range(C):
                        piece[i, j, c] = x[n, top + i, left + j, c]
                else:
                    for c in range(C):
                        piece[i, j, c] = 0
        for j in range(6):
            for c in range(C):
                d0, d1, d2 = piece[0, j, c], piece[1, j, c], piece[2, j, c]
                d3, d4, d5 = piece[3, j, c], piece[4, j, c], piece[5, j, c]
                even, odd, near, far = d4 - FOUR * d2, d3 - FOUR * d1, d4 - d2, TWO * (d3 - d1)
                piece[0, j, c] = FOUR * d0 - FIVE * d2 + d4
                piece[1, j, c] = even + odd
                piece[2, j, c] = even - odd
                piece[3, j, c] = near + far
                piece[4, j, c] = near - far
                piece[5, j, c] = FOUR * d1 - FIVE * d3 + d5
        for i in range(6):
            for c in range(C):
                d0, d1, d2 = piece[i, 0, c], piece[i, 1, c], piece[i, 2, c]
                d3, d4, d5 = piece[i, 3, c], piece[i, 4, c], piece[i, 5, c]
                even, odd, near, far = d4 - FOUR * d2, d3 - FOUR * d1, d4 - d2, TWO * (d3 - d1)
                tiles[p, 6 * i, c] = FOUR * d0 - FIVE * d2 + d4
                tiles[p, 6 * i + 1, c] = even + odd
                tiles[p, 6 * i + 2, c] = even - odd
                tiles[p, 6 * i + 3, c] = near + far
                tiles[p, 6 * i + 4, c] = near - far
                tiles[p, 6 * i + 5, c] = FOUR * d1 - FIVE * d3 + d5


@njit(nogil=True, fastmath=True, cache=True)
def _from_tiles(sums, first, bias, added, add, relu, y, down, across):
    """Output transform: A^T m A of the sums m (..., 36, K) of each tile -> y (N, H, W, K).

    The bias is added, then `added` if add is True; then ReLU is applied if relu is True.
    """
    _, H, W, K = y.shape
    half, out = np.empty((4, 6, K), np.float32), np.empty((4, K), np.float32)
    for p in range(len(sums)):
        n, place = divmod(first + p, down * across)
        top, left = place // across * 4, place % across * 4
        for j in range(6):
            for k in range(K):
                m0, m1, m2 = sums[p, j, k], sums[p, 6 + j, k], sums[p, 12 + j, k]
                m3, m4, m5 = sums[p, 18 + j, k], sums[p, 24 + j, k], sums[p, 30 + j, k]
                near, far, nearer, farther = m1 + m2, m3 + m4, m1 - m2, m3 - m4
                half[0, j, k] = m0 + near + far
                half[1, j, k] = nearer + TWO * farther
                half[2, j, k] = near + FOUR * far
                half[3, j, k] = nearer + EIGHT * farther + m5
        for i in range(min(4, H - top)):
            for k in range(K):
                m0, m1, m2 = half[i, 0, k], half[i, 1, k], half[i, 2, k]
                m3, m4, m5 = half[i, 3, k], half[i, 4, k], half[i, 5, k]
                near, far, nearer, farther = m1 + m2, m3 + m4, m1 - m2, m3 - m4
                out[0, k] = bias[k] + m0 + near + far
                out[1, k] = bias[k] + nearer + TWO * farther
                out[2, k] = bias[k] + near + FOUR * far
                out[3, k] = bias[k] + nearer + EIGHT * farther + m5
            for j in range(min(4, W - left)):
                if add:
                    for k in range(K):
                        out[j, k] += added[n, top + i, left + j, k]
                for k in range(K):
                    y[n, top + i, left + j, k] = (
                        max(out[j, k], np.float32(0)) if relu else out[j, k]
                    )


class WinogradBlock(nn.Module):
    """A ResNet BasicBlock without batch norm, with Winograd convolutions where the stride is 1."""

    def __init__(self, block: BasicBlock):
        super().__init__()
        plain = block.conv1.stride == (1, 1)
        self.conv1 = WinogradConv(block.conv1) if plain else block.conv1
        self.conv2, self.downsample, self.plain = WinogradConv(block.conv2), block.downsample, plain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(x, relu=True) if self.plain else self.conv1(x).relu_()
        return self.conv2(y, add=self.downsample(x) if self.downsample else x, relu=True)
