"""RES_LSTM: a frozen ResNet18 per frame, a 2-layer LSTM over frames, their mean, one logit.

backbone, weights_name = build_backbone("imagenet")
model = RES_LSTM(backbone, ModelConfig())
logits = model(frames)                           # or, the same: model.classify(features)
"""

import hashlib
import io
import pickle
import urllib.error
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from files import UserError, write_whole
from frames import SIZE

# How torchvision's ImageNet weights want their input: RGB in 0..1, less the mean, over the std.
PREPROCESSING = {
    "size": SIZE,
    "resize": "area, aspect not kept",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
CHECKPOINT_FORMAT = "rally-detector"
CHECKPOINT_VERSION = 1


@dataclass(frozen=True)
class ModelConfig:
    """What fixes the shape of RES_LSTM, and what its output means. Defaults: the original study."""

    architecture: str = "resnet18-lstm-mean"
    feature_size: int = 512
    hidden_size: int = 128
    num_layers: int = 2
    head_size: int = 64
    dropout: float = 0.3
    seq_frames: int = 30
    class_names: tuple[str, str] = field(default=("non-rally", "rally"))

    def __post_init__(self):
        object.__setattr__(self, "class_names", tuple(self.class_names))
        for name in ("feature_size", "hidden_size", "num_layers", "head_size", "seq_frames"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be in [0, 1), not {self.dropout}")
        if self.architecture != "resnet18-lstm-mean" or len(self.class_names) != 2:
            raise UserError(f"not an architecture of this version: {self}")


class RES_LSTM(nn.Module):
    """A trained LSTM and head on a backbone that is frozen: in eval mode always, so that its
    BatchNorm statistics never move."""

    def __init__(self, backbone: nn.Module, config: ModelConfig | None = None):
        super().__init__()
        self.config = config = config or ModelConfig()
        self.backbone = backbone.requires_grad_(False).eval()
        self.lstm = nn.LSTM(
            config.feature_size, config.hidden_size, config.num_layers, batch_first=True
        )
        self.head = nn.Sequential(
            nn.Linear(config.hidden_size, config.head_size),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.head_size, 1),
        )
        # 0 and 1 change nothing: the study's features go in as they are.
        self.register_buffer("feature_mean", torch.zeros(config.feature_size))
        self.register_buffer("feature_std", torch.ones(config.feature_size))

    def standardise(self, batches: Iterable[torch.Tensor]) -> None:
        """Lets classify scale each feature by its mean and deviation in all of (..., 512).

        For backbones whose features are far from mean 0.9 and deviation 1, as ImageNet's are.
        """
        count, total, squares = 0, 0.0, 0.0
        for batch in batches:
            flat = batch.reshape(-1, batch.shape[-1]).double()
            count += len(flat)
            total, squares = total + flat.sum(0), squares + flat.square().sum(0)
        mean = total / count
        variance = (squares - count * mean.square()) / (count - 1)
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(variance.clamp(min=1e-12).sqrt())

    def train(self, mode: bool = True) -> "RES_LSTM":
        super().train(mode)
        self.backbone.eval()
        return self

    def encode_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalised float32 frames (B, T, 3, H, W) -> features (B, T, 512), without gradient."""
        B, T, C, H, W = frames.shape
        with torch.no_grad():
            features = self.backbone(frames.reshape(B * T, C, H, W))  # (B*T, D, 1, 1)
        return features.reshape(B, T, -1)  # (B, T, D)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, T, 512) -> logits (B, 1); sigmoid(logit) is the probability of class 1."""
        scaled = (features - self.feature_mean) / self.feature_std  # (B, T, D)
        states, _ = self.lstm(scaled)  # (B, T, hidden_size)
        return self.head(states.mean(dim=1))  # (B, 1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalised float32 frames (B, T, 3, H, W) -> logits (B, 1)."""
        return self.classify(self.encode_frames(frames))


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
    state = _read_torch_file(path, "a ResNet18 state_dict saved by torch.save")
    names = set(resnet.state_dict())
    needed = {name for name in names if not name.endswith("num_batches_tracked")}  # in old files
    if not isinstance(state, dict) or not needed - {"fc.weight", "fc.bias"} <= set(state):
        raise UserError(f"{path} is not a torchvision resnet18 state_dict: parameters are missing")
    try:
        resnet.load_state_dict({k: v for k, v in state.items() if k in names}, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} is not a resnet18: {error}") from error
    return resnet


def _read_torch_file(path: Path, wanted: str) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}; it should be {wanted}") from error
    except Exception as error:  # torch.load names no exceptions: zip, pickle, EOF, OS, runtime
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is damaged or not {wanted}: {reason}") from error


def backbone_hash(backbone: nn.Module) -> str:
    """12 hex digits that change with any weight: SHA-256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in backbone.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def save_model(
    path: str | Path, model: RES_LSTM, weights_name: str, threshold: float = 0.5, **about: object
) -> None:
    """Writes a self-contained checkpoint, whole or not at all; `about` is kept as plain values."""
    buffer = io.BytesIO()
    checkpoint = {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "model_config": {**asdict(model.config), "class_names": list(model.config.class_names)},
        "preprocessing": PREPROCESSING,
        "weights_name": weights_name,
        "threshold": threshold,
        "about": about,
        "state_dict": model.state_dict(),
    }
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())


def update_checkpoint(path: str | Path, name: str, value: object) -> None:
    """Puts a further entry (plain values and tensors) into a checkpoint, or in the old one's place.

    Entries inside it that a dict does not name stay. load_model returns it with the rest.
    """
    load_model(path)
    checkpoint = _read_torch_file(Path(path), "a model saved by this project")
    both = isinstance(value, dict) and isinstance(checkpoint.get(name), dict)
    checkpoint[name] = {**checkpoint[name], **value} if both else value
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())


def load_model(path: str | Path) -> tuple[RES_LSTM, dict]:
    """The model (in eval mode, on the CPU) and all else its checkpoint holds (without state_dict).

    Needs no network. Raises UserError for a file that is damaged, not one of ours, of a newer
    version, of another architecture, or made for another preprocessing.
    """
    checkpoint = _read_torch_file(Path(path), "a model saved by this project")
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != CHECKPOINT_FORMAT:
        raise UserError(f"{path} is not a model saved by this project (runs/<name>/best_model.pth)")
    if checkpoint.get("version") != CHECKPOINT_VERSION:
        raise UserError(
            f"{path} has format version {checkpoint.get('version')}, this code reads "
            f"{CHECKPOINT_VERSION}: update the repo, or train the model again"
        )
    try:
        model = RES_LSTM(
            _backbone_of(resnet18(weights=None)), ModelConfig(**checkpoint["model_config"])
        )
        model.load_state_dict(checkpoint.pop("state_dict"))
        preprocessing = checkpoint["preprocessing"]
    except (KeyError, TypeError, RuntimeError, UserError) as error:
        raise UserError(f"{path} holds another architecture than this code: {error}") from error
    if preprocessing != PREPROCESSING:
        raise UserError(f"{path} expects frames prepared as {preprocessing}")
    return model.eval(), checkpoint
