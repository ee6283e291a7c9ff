"""The frozen backbone: ResNet18 up to its average pool, with weights downloaded, read or drawn.

    backbone, weights_name = build_backbone("imagenet")
    features = backbone(normalise(frames)).flatten(1)      # (N, 512)

It is in eval mode and without gradients; extraction.encoder makes a quick copy of it.
"""

import hashlib
import pickle
import urllib.error
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from files import UserError
from media.frames import SIZE

# How torchvision's ImageNet weights want their input: RGB in 0..1, less the mean, over the std.
# The resize is that of frames that come in another size; those of a sequence are 224 already, and
# sequences.csv says how they were made so. The names of feature folders follow all of it.
PREPROCESSING = {
    "size": SIZE,
    "resize": "area, aspect not kept",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def normalise(frames: torch.Tensor) -> torch.Tensor:
    """uint8 RGB (..., 3, H, W), 0 to 255 -> float32 of the same shape, as the weights want it."""
    mean = torch.tensor(PREPROCESSING["mean"], device=frames.device).view(3, 1, 1)
    std = torch.tensor(PREPROCESSING["std"], device=frames.device).view(3, 1, 1)
    return (frames.float() / 255 - mean) / std


def build_backbone(weights: str | Path, synthetic: bool = False) -> tuple[nn.Sequential, str]:
    """ResNet18 up to its average pool, in eval mode, and the name of the weights that it holds.

    weights: "imagenet" (torchvision's IMAGENET1K_V1, downloaded once, hash checked), "random"
    (seeded), a path to a resnet18 state_dict, or, on synthetic data only, "auto": ImageNet if it
    can be had, else random, said aloud. Raises UserError with the remedy when they cannot be had.
    """
    if weights == "auto":
        if not synthetic:
            raise UserError('weights "auto" is for the synthetic sample: use "imagenet" here')
        try:
            return build_backbone("imagenet")
        except UserError as error:
            print(f"WARNING: {error}\nWARNING: going on with RANDOM backbone weights (sample only)")
            return build_backbone("random")
    if weights == "imagenet":
        return _backbone_of(_load_imagenet()), "imagenet (IMAGENET1K_V1)"
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _backbone_of(resnet18(weights=None)), "random (seed 0)"
    return _backbone_of(_load_resnet_file(Path(weights))), f"file {Path(weights).name}"


def empty_backbone() -> nn.Sequential:
    """The backbone with weights that stand for nothing, for a state_dict to be loaded into."""
    return _backbone_of(resnet18(weights=None))


def _backbone_of(resnet: nn.Module) -> nn.Sequential:
    """All of a torchvision resnet but its classifier, under the same parameter names."""
    parts = OrderedDict((name, part) for name, part in resnet.named_children() if name != "fc")
    return nn.Sequential(parts).requires_grad_(False).eval()


def _load_imagenet() -> nn.Module:
    url = ResNet18_Weights.IMAGENET1K_V1.url
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    try:
        return resnet18(weights=ResNet18_Weights.IMAGENET1K_V1)
    except (
        urllib.error.URLError,
        OSError,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise UserError(
            f"the ImageNet weights could not be had ({error}). Download {url} in a browser and "
            f'put it at {_from_home(place)} (replacing what is there), or set weights = "random" '
            "to try things out without them"
        ) from error


def _from_home(path: Path) -> str:
    """The path as people write it, from ~ where it lies in their home."""
    inside = path.is_relative_to(Path.home())
    return str(Path("~") / path.relative_to(Path.home()) if inside else path)


def _load_resnet_file(path: Path) -> nn.Module:
    resnet = resnet18(weights=None)
    state = read_torch_file(path, "a ResNet18 state_dict saved by torch.save")
    names = set(resnet.state_dict())
    needed = {name for name in names if not name.endswith("num_batches_tracked")}  # in old files
    if not isinstance(state, dict) or not needed - {"fc.weight", "fc.bias"} <= set(state):
        raise UserError(f"{path} is not a torchvision resnet18 state_dict: parameters are missing")
    try:
        resnet.load_state_dict({k: v for k, v in state.items() if k in names}, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} is not a resnet18: {error}") from error
    return resnet


def read_torch_file(path: Path, wanted: str) -> object:
    """What torch.save wrote, on the CPU, weights_only; UserError, saying what is wanted, if not."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}; it should be {wanted}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception as error:  # torch.load names no exceptions: zip, pickle, EOF, runtime; its
        # words advise weights_only=False, which would run what such a file holds
        raise UserError(f"{path} is damaged or not {wanted}") from error


def backbone_hash(backbone: nn.Module) -> str:
    """12 hex digits that change with any weight: SHA-256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in backbone.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
