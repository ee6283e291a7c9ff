"""RES_LSTM: a frozen ResNet18 per frame, a 2-layer LSTM, the mean over time, one logit.

backbone, weights_name = build_backbone("imagenet")
model = RES_LSTM(backbone, ModelConfig())
logits = model(frames)                           # same result: model.classify(features)
"""

import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from extraction.backbones import PREPROCESSING, empty_backbone, read_torch_file
from files import UserError, write_whole

CHECKPOINT_FORMAT = "rally-detector"
CHECKPOINT_VERSION = 2  # version 1 had no dropout between the LSTM layers and no frame rate


@dataclass(frozen=True)
class ModelConfig:
    """The shape of RES_LSTM, the kind of sequences it was trained on, and its class names.

    The defaults are those of the original study.
    """

    architecture: str = "resnet18-lstm-mean"
    feature_size: int = 512
    hidden_size: int = 128
    num_layers: int = 2
    head_size: int = 64
    dropout: float = 0.3  # in the head and between the LSTM layers
    lstm_dropout: float | None = None  # between the LSTM layers only; None: same as dropout
    seq_frames: int = 30  # frames in a training sequence
    fps: float | None = 30.0  # frame rate of the training sequences; None: not recorded
    resize: str = ""  # how their frames were resized, from sequences.csv; "": not recorded
    class_names: tuple[str, str] = field(default=("non-rally", "rally"))

    def __post_init__(self):
        object.__setattr__(self, "class_names", tuple(self.class_names))
        for name in ("feature_size", "hidden_size", "num_layers", "head_size", "seq_frames"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise UserError(f"fps must be above 0, not {self.fps}")
        for name in ("dropout", "lstm_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UserError(f"{name} must be in [0, 1), not {value}")
        if self.architecture != "resnet18-lstm-mean" or len(self.class_names) != 2:
            raise UserError(
                f"unsupported model: {self}; the architecture must be resnet18-lstm-mean, with "
                "two class names"
            )

    @property
    def dropout_between_layers(self) -> float:
        """The dropout for nn.LSTM: 0 for a single layer, where there is no layer in between."""
        if self.num_layers == 1:
            return 0.0
        return self.dropout if self.lstm_dropout is None else self.lstm_dropout


class RES_LSTM(nn.Module):
    """A trainable LSTM and head on a frozen backbone.

    The backbone always stays in eval mode, so that its BatchNorm statistics never change.
    """

    def __init__(self, backbone: nn.Module, config: ModelConfig | None = None):
        super().__init__()
        self.config = config = config or ModelConfig()
        self.backbone = backbone.requires_grad_(False).eval()
        self.lstm = nn.LSTM(
            config.feature_size,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout_between_layers,
        )
        self.head = nn.Sequential(
            nn.Linear(config.hidden_size, config.head_size),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.head_size, 1),
        )
        # Mean 0 and std 1 leave the features unchanged, as in the original study.
        self.register_buffer("feature_mean", torch.zeros(config.feature_size))
        self.register_buffer("feature_std", torch.ones(config.feature_size))

    def standardise(self, batches: Iterable[torch.Tensor]) -> None:
        """Computes the mean and std of each feature over all batches (..., 512), for classify.

        Use it when the backbone's features are far from those of ImageNet weights (mean 0.9,
        std 1). A constant feature keeps its scale.
        """
        scaler = StandardScaler()
        for batch in batches:
            scaler.partial_fit(batch.flatten(0, -2).double().cpu().numpy())
        self.feature_mean.copy_(torch.from_numpy(scaler.mean_))
        self.feature_std.copy_(torch.from_numpy(scaler.scale_))

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


def save_model(path: str | Path, model: RES_LSTM, weights_name: str, **about: object) -> None:
    """Writes a self-contained checkpoint atomically. `about` must hold plain values only."""
    buffer = io.BytesIO()
    checkpoint = {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "model_config": {**asdict(model.config), "class_names": list(model.config.class_names)},
        "preprocessing": PREPROCESSING,
        "weights_name": weights_name,
        "about": about,
        "state_dict": model.state_dict(),
    }
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())


def update_checkpoint(path: str | Path, name: str, value: object) -> None:
    """Adds or replaces one entry (plain values and tensors) of a checkpoint; load_model returns it.

    If the old and new values are both dicts, they are merged: keys only in the old one stay.
    """
    load_model(path)
    checkpoint = read_torch_file(Path(path), "a model saved by this project")
    both = isinstance(value, dict) and isinstance(checkpoint.get(name), dict)
    checkpoint[name] = {**checkpoint[name], **value} if both else value
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())


def load_model(path: str | Path) -> tuple[RES_LSTM, dict]:
    """Returns the model (eval mode, on the CPU) and the checkpoint as a dict without state_dict.

    Needs no network. A version 1 file loads as it was trained: no dropout between the LSTM layers,
    frame rate not recorded. Raises UserError if the file is missing, corrupt, not a checkpoint of
    this project, of a newer version, of a different architecture, or made with a different
    preprocessing.
    """
    checkpoint = read_torch_file(Path(path), "a model saved by this project")
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != CHECKPOINT_FORMAT:
        raise UserError(
            f"{path} is not a model saved by this project; give a runs/<name>/best_model.pth"
        )
    version = checkpoint.get("version")
    if version not in (1, CHECKPOINT_VERSION):
        raise UserError(
            f"{path} has format version {version}, and this code reads versions 1 to "
            f"{CHECKPOINT_VERSION}: update the code, or train the model again"
        )
    try:
        of_version_1 = {"lstm_dropout": 0.0, "fps": None} if version == 1 else {}
        config = ModelConfig(**checkpoint["model_config"], **of_version_1)
        model = RES_LSTM(empty_backbone(), config)
        model.load_state_dict(checkpoint.pop("state_dict"))
        preprocessing = checkpoint["preprocessing"]
    except (KeyError, TypeError, RuntimeError, UserError) as error:
        raise UserError(
            f"{path} has a different architecture than this code ({error}): train the model again"
        ) from error
    if preprocessing != PREPROCESSING:
        raise UserError(
            f"{path} was trained on frames preprocessed with {preprocessing}, but this code uses "
            f"{PREPROCESSING}: train the model again"
        )
    return model.eval(), checkpoint
