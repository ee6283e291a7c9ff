"""ResNet18's first layers as one step, for CPUs in float32: 7x7 convolution, ReLU, 3x3 max pool.

    y = Stem(conv, centre)(pixels)         # the centre is subtracted from the pixels first

It works on a few rows at a time, so that the intermediate values stay in the cache. As separate
PyTorch layers, 10 frames have 32 MB between convolution and max pool. Numba copies the patches
under the kernel side by side (im2col); then the convolution is a matrix product in NumPy's BLAS.
"""

import numpy as np
import torch
from numba import njit
from torch import nn

ROWS = 4  # rows of the convolution's output at a time: 0.4 MB


class Stem(nn.Module):
    def __init__(self, conv: nn.Conv2d, centre: torch.Tensor):
        """conv: 7x7, stride 2, padding 3, 3 input channels, with a bias. centre: float (3,)."""
        super().__init__()
        kernels = conv.weight.detach().permute(2, 3, 1, 0)  # (7, 7, 3, K)
        self.register_buffer("kernels", kernels.flatten(0, 2).contiguous())  # (147, K)
        self.register_buffer("bias", conv.bias.detach().clone())
        self.register_buffer("centre", centre.detach().flatten().clone())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 3, H, W), H and W multiples of 8 -> float32 (N, K, H/4, W/4), channels_last."""
        N, _, H, W = pixels.shape
        K = len(self.bias)
        images = pixels.permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, 3)
        kernels, bias, centre = self.kernels.numpy(), self.bias.numpy(), self.centre.numpy()
        padded = np.zeros((H + 6, (W + 6) * 3), np.float32)
        patches = np.empty((ROWS, W // 2, 147), np.float32)
        rows = np.empty((1 + ROWS, W // 2, K), np.float32)  # row 0: the last row of the step before
        y = np.empty((N, H // 4, W // 4, K), np.float32)
        for n in range(N):
            _pad(images[n], centre, padded)
            rows[0] = -np.inf
            for top in range(0, H // 2, ROWS):
                _copy_patches(padded, top, patches)
                np.matmul(patches, kernels, out=rows[1:])
                _pool(rows, bias, y[n, top // 2 : (top + ROWS) // 2])
                rows[0] = rows[ROWS]
        return torch.from_numpy(y).permute(0, 3, 1, 2)


@njit(nogil=True, fastmath=True, cache=True)
def _pad(image, centre, padded):
    """Writes image (H, W, 3) minus centre (3,) into padded, inside its zero border."""
    H, W, _ = image.shape
    for i in range(H):
        for j in range(W):
            for c in range(3):
                padded[i + 3, 3 * (j + 3) + c] = np.float32(image[i, j, c]) - centre[c]


@njit(nogil=True, fastmath=True, cache=True)
def _copy_patches(padded, top, patches):
    """Writes the 7x7x3 values under the kernel at each output pixel to patches (rows, W/2, 147)."""
    for r in range(patches.shape[0]):
        for j in range(patches.shape[1]):
            for i in range(7):
                for k in range(21):  # 7 pixels with 3 colours each are adjacent in memory
                    patches[r, j, 21 * i + k] = padded[2 * (top + r) + i, 6 * j + k]


@njit(nogil=True, cache=True)
def _pool(rows, bias, y):
    """3x3 max pool with stride 2, then bias and ReLU: rows (1 + 2P, 2Q, K) -> y (P, Q, K)."""
    P, Q, K = y.shape
    tallest = np.empty((2 * Q, K), np.float32)
    for p in range(P):
        for j in range(2 * Q):
            for k in range(K):
                above, here, below = rows[2 * p, j, k], rows[2 * p + 1, j, k], rows[2 * p + 2, j, k]
                tallest[j, k] = max(max(above, here), below)
        for q in range(Q):
            left = max(2 * q - 1, 0)
            for k in range(K):
                widest = max(max(tallest[left, k], tallest[2 * q, k]), tallest[2 * q + 1, k])
                y[p, q, k] = max(widest + bias[k], np.float32(0))
