"""The script that made the files in this folder, at commit 66a35da.

    git checkout 66a35da && python make.py FOLDER        # after copying this file to the root

That commit is from before the modules moved into folders. The files are a model with a fitted
detection, the features of two sequences in two precisions, and a match with its detected rallies.
The weights repeat short patterns, so that the 45 MB of the model compress to a few kB.
expected.json holds the results of that commit. The numbered frames are SYNTHETIC.
"""

import json
import lzma
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import torch
from match_model import HeadConfig, MatchHead
from results import save_result
from segments import Decoding, to_marks

from dataset import load_features
from detection import detect_match, load_detector
from features import extract_features
from model import RES_LSTM, ModelConfig, build_backbone, load_model, save_model, update_checkpoint

FRAMES = 4


def fill(module: torch.nn.Module, gain: float = 1.0) -> None:
    """Weights of a pattern of 509 numbers, as large as Kaiming's; biases 0, scales of norms 1."""
    pattern = torch.from_numpy(np.random.default_rng(0).normal(size=509).astype(np.float32))
    for name, parameter in module.named_parameters():
        count = parameter.numel()
        values = pattern.repeat(count // 509 + 1)[:count].reshape(parameter.shape)
        scale = gain * (2 * len(parameter) / count) ** 0.5
        flat = torch.full_like(parameter, 0.0 if "bias" in name else 1.0)
        parameter.data.copy_(values * scale if parameter.dim() > 1 else flat)


def main() -> None:
    folder = Path(sys.argv[1])
    split = folder / "train"
    for k in (1, 2):
        sequence = split / "sequences" / f"seq_{k:05d}"
        sequence.mkdir(parents=True)
        for t in range(FRAMES):
            picture = np.full((224, 224, 3), 40 * k, np.uint8)
            cv2.circle(picture, (40 + 40 * t, 60 * k), 30, (40, 220, 250), -1)
            cv2.imwrite(str(sequence / f"{t + 1:05d}.jpg"), picture)
    pixels = b"".join(
        np.full((80, 80), 255 if 30 <= k < 90 else 20, np.uint8).tobytes() for k in range(120)
    )
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo"]
    ffmpeg += ["-pix_fmt", "gray", "-s", "80x80", "-r", "30", "-i", "-", "-pix_fmt", "yuv420p"]
    subprocess.run([*ffmpeg, str(folder / "match.mp4")], input=pixels, check=True)
    backbone, _ = build_backbone("random")
    fill(backbone)
    model = RES_LSTM(backbone, ModelConfig(seq_frames=FRAMES, class_names=("calm", "play"))).eval()
    fill(model.lstm, 3.0)
    fill(model.head)
    names = ["seq_00001", "seq_00002"]
    kept = extract_features(split, names, backbone, 1, FRAMES, "cpu", "fp32")
    model.standardise(load_features(kept / f"{name}.safetensors") for name in names)
    path = folder / "best_model.pth"
    save_model(path, model, "a pattern", synthetic=True, epoch=3)
    head = MatchHead(HeadConfig(channels=8, dilations=(1, 2))).eval()
    fill(head)
    steps = torch.cat([load_features(kept / f"{name}.safetensors")[0] for name in names])
    head.feature_mean.copy_(steps.mean(0))
    head.feature_std.copy_(steps.std(0).clamp(min=1e-3))
    detection = {"config": asdict(head.config), "state": head.state_dict(), "history": []}
    decoding = asdict(Decoding(threshold=0.4, min_rally_sec=0.5))
    update_checkpoint(path, "detection", {"head": detection, "head_decoding": decoding})
    expected = {"probabilities": {}, "features": {}}
    model, _ = load_model(path)
    for precision in ("fp32", "bf16"):
        kept = extract_features(split, names, model.backbone, 1, FRAMES, "cpu", precision)
        expected["features"][precision] = kept.name
        with torch.inference_mode():
            expected["probabilities"][precision] = [
                model.classify(load_features(kept / f"{name}.safetensors")[:1]).sigmoid().item()
                for name in names
            ]
    detector = load_detector(path, precision="fp32")
    result = detect_match(folder / "match.mp4", detector, folder / "match_rallies", progress=False)
    rallies, _ = save_result(result, folder / "match_rallies")
    expected["rallies"] = to_marks(rallies)
    expected["match_probabilities"] = [round(float(p), 6) for p in result.probs]
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    with open(path, "rb") as source, lzma.open(f"{path}.xz", "wb", preset=9) as packed:
        shutil.copyfileobj(source, packed)
    path.unlink()
    for leftover in [*folder.rglob(".lock"), *folder.rglob(".*.lock")]:
        leftover.unlink()


if __name__ == "__main__":
    main()
