"""The frozen backbone: ResNet18 up to its average pool, with ImageNet, random or your own weights.

    backbone, weights_name = build_backbone("imagenet")
    features = backbone(normalise(frames)).flatten(1)      # (N, 512)

The backbone is in eval mode, without gradients. extraction.encoder makes a faster copy of it.
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

# The input that torchvision's ImageNet weights expect: RGB in 0..1, minus the mean, divided by the
# std. "resize" applies to frames of another size. The frames of a sequence are 224x224 already, and
# sequences.csv records how they were resized. Do not edit these texts: the names of the feature
# folders contain a hash of them, and load_model compares them with those in a checkpoint.
PREPROCESSING = {
    "size": SIZE,
    "resize": "area, aspect not kept",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def normalise(frames: torch.Tensor) -> torch.Tensor:
    """uint8 RGB (..., 3, H, W), 0 to 255 -> float32 of the same shape, (x / 255 - mean) / std."""
    mean = torch.tensor(PREPROCESSING["mean"], device=frames.device).view(3, 1, 1)
    std = torch.tensor(PREPROCESSING["std"], device=frames.device).view(3, 1, 1)
    return (frames.float() / 255 - mean) / std


def build_backbone(weights: str | Path, synthetic: bool = False) -> tuple[nn.Sequential, str]:
    """Returns ResNet18 up to its average pool, in eval mode, and the name of its weights.

    weights: "imagenet" (torchvision's IMAGENET1K_V1, downloaded once, with a checked hash),
    "random" (seed 0), or a path to a resnet18 state_dict. On synthetic data "auto" is allowed too:
    ImageNet, or random with a printed warning if the download fails. Raises UserError, with the
    remedy, if the weights cannot be loaded.
    """
    if weights == "auto":
        if not synthetic:
            raise UserError('weights "auto" is only for the synthetic sample: use "imagenet" here')
        try:
            return build_backbone("imagenet")
        except UserError as error:
            print(f"WARNING: {error}\nWARNING: using RANDOM backbone weights (synthetic data only)")
            return build_backbone("random")
    if weights == "imagenet":
        return _backbone_of(_load_imagenet()), "imagenet (IMAGENET1K_V1)"
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _backbone_of(resnet18(weights=None)), "random (seed 0)"
    return _backbone_of(_load_resnet_file(Path(weights))), f"file {Path(weights).name}"


def empty_backbone() -> nn.Sequential:
    """The backbone with placeholder weights, to load a state_dict into."""
    return _backbone_of(resnet18(weights=None))


def _backbone_of(resnet: nn.Module) -> nn.Sequential:
    """A torchvision resnet without its classifier. The parameter names stay the same."""
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
            f"could not download or read the ImageNet weights ({error}). Download {url} in a "
            f"browser and save it as {_from_home(place)} (overwrite any file there), or set "
            'weights = "random" to try the code without them'
        ) from error


def _from_home(path: Path) -> str:
    """The path as text, shortened to ~/... inside the home folder."""
    inside = path.is_relative_to(Path.home())
    return str(Path("~") / path.relative_to(Path.home()) if inside else path)


def _load_resnet_file(path: Path) -> nn.Module:
    resnet = resnet18(weights=None)
    state = read_torch_file(path, "a ResNet18 state_dict saved by torch.save")
    names = set(resnet.state_dict())
    needed = {name for name in names if not name.endswith("num_batches_tracked")}  # in old files
    if not isinstance(state, dict) or not needed - {"fc.weight", "fc.bias"} <= set(state):
        raise UserError(f"{path} is not a torchvision resnet18 state_dict: it lacks parameters")
    try:
        resnet.load_state_dict({k: v for k, v in state.items() if k in names}, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} is not a resnet18: {error}") from error
    return resnet


def read_torch_file(path: Path, wanted: str) -> object:
    """Loads a torch.save file on the CPU, with weights_only=True so that it cannot run code.

    Raises UserError if the file is missing, unreadable or corrupt; `wanted` says what it should be.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path} (expected {wanted})") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; name a file in it: best_model.pth") from error
    except OSError as error:
        raise UserError(f"could not read {path} ({error.strerror or error})") from error
    except Exception as error:  # torch.load documents none: zip, pickle, EOF, runtime errors. Its
        # message advises weights_only=False, which would run code in the file: do not repeat it
        raise UserError(f"{path} is corrupt, or is not {wanted}") from error


def backbone_hash(backbone: nn.Module) -> str:
    """12 hex digits that change with any weight: SHA-256 over names, shapes, dtypes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in backbone.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
