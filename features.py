"""Frozen features: each frame goes through the backbone once, the result is kept on disk.

    python features.py Data/train Data/validation [--weights imagenet] [--views 1]
    python features.py Data/train --ray [ADDRESS]        # on all machines of a Ray cluster

About 45 frames a second on two plain cores (AVX2, fp32), so 7 minutes for the 618 training
sequences of the original study, once. A killed run goes on where it was.
"""

import argparse
from functools import partial
from pathlib import Path

from cli import add_machine_options, positive, run_command, split_address
from files import UserError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compute and keep the frozen features of splits.")
    add = parser.add_argument
    add("split_dirs", nargs="*", metavar="DIR", help="such as Data/train")
    add("--weights", default="imagenet", help="imagenet, random, or a file")
    add("--views", type=positive(int), default=1, help="1 plus the augmented views")
    add("--seq-frames", type=positive(int), help="frames of a sequence (as many as most have)")
    add_machine_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    address, names = split_address(options.ray, options.split_dirs)
    if not names:
        parser.error("which splits? Such as Data/train")
    if address is None and any("://" in name for name in names):
        parser.error("folders by address need --ray")
    return extract(names, address, options)


def extract(names: list[str], address: str | None, options: argparse.Namespace) -> int:
    """Computes what is missing of each split, here or on the Ray cluster at an address."""
    # torch takes seconds to import, which --help does without; Ray a second more.
    from annotation.split_check import usual_frames  # noqa: PLC0415
    from extraction.backbones import build_backbone  # noqa: PLC0415
    from extraction.encoder import best_device  # noqa: PLC0415
    from extraction.features import extract_features, list_sequences  # noqa: PLC0415

    if address is None:
        as_path, run = Path, partial(extract_features, device=best_device())
    else:
        from extraction.ray_cluster import as_path, connect  # noqa: PLC0415
        from extraction.ray_extraction import extract_on_ray as run  # noqa: PLC0415
    backbone, weights_name = build_backbone(options.weights)
    print(f"backbone weights: {weights_name}")
    failures, splits = [], {}
    for name in names:
        try:
            split_dir = as_path(name)
            splits[split_dir] = list_sequences(split_dir)
        except (UserError, OSError) as error:
            failures.append(str(error) if isinstance(error, UserError) else f"{name}: {error}")
    if splits and address is not None:
        connect(address)
    for split_dir, sequences in splits.items():
        folders = [split_dir / "sequences" / name for name in sequences]
        try:
            folder = run(
                split_dir,
                sequences,
                backbone,
                views=options.views,
                seq_frames=options.seq_frames or usual_frames(folders),
                precision=options.precision,
            )
            print(f"{split_dir}: {len(sequences)} sequences in {folder}")
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("\n".join(failures))
    return 0


if __name__ == "__main__":
    run_command(main)
