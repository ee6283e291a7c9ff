"""Finds the videos that a command line names: files, folders of files, addresses.

Imports no torch.
"""

from pathlib import Path

from collection import downloading
from collection.sources import is_address, is_playlist
from files import UserError
from media.proxy import SUFFIX as PROXY_SUFFIX

VIDEO_SUFFIXES = (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg")
VIDEO_SUFFIXES += (".mts", ".ogv", ".ts", ".webm", ".wmv")


def find_videos(given: list[str]) -> tuple[list[Path | str], list[str]]:
    """(files and addresses, in order and without repeats; a problem for each name that failed).

    A folder stands for the videos directly in it, the address of a playlist for its videos.
    """
    videos, problems = [], []
    for name in given:
        try:
            if is_playlist(name):
                videos += downloading.playlist_videos(name)
            elif is_address(name):
                videos.append(name)
            elif Path(name).is_dir():
                videos += videos_in(Path(name))
            else:
                videos.append(Path(name))
        except UserError as error:
            problems.append(str(error))
    return list(dict.fromkeys(videos)), problems


def videos_in(folder: Path) -> list[Path]:
    """The video files directly in a folder, sorted by name, without proxy files.

    Raises UserError if there are none.
    """
    videos = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
        and not path.name.endswith(PROXY_SUFFIX)
    )
    if not videos:
        raise UserError(f"{folder}: no video file in this folder")
    return videos


def find_in_data(video: str, data_dir: Path) -> str:
    """The path of a video that is named relative to the data folder; any other name unchanged."""
    inside = data_dir / video
    return str(inside) if not Path(video).exists() and inside.is_file() else video
