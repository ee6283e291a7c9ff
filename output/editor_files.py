"""Exports a match's rallies as files for editors, players, YouTube and LosslessCut.

otio, edl and fcpxml hold a track of clips, one for each rally, that refer to the match's file. The
edges of clips are frames: round(seconds * fps), the end exclusive. srt, chapters and llc are in
seconds of the match. Seconds count from the file's first frame. Imports no torch.

- An EDL (CMX 3600) holds pictures only. At 29.97 and 59.94 frames per second its timecode is
  drop-frame, so that it keeps to real time. Its second line says which timecode it has. Frame 0 of
  the file is 00:00:00:00. The format names a source by at most 8 letters and digits, so a comment
  has the whole name.
- FCPXML is written here, without OpenTimelineIO. Its adapter (1.0.0) looks up frame durations by
  two decimals. It finds none for 24000/1001, 30000/1001 and 60000/1001, and reads these rates as
  23, 29 and 59.
- YouTube shows chapters only if the first is at 0:00, there are at least three, and each lasts at
  least 10 seconds.
"""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

from annotation.match_marks import Marks
from files import UserError, write_whole
from media.video import open_container

FILE_NAMES = {
    "otio": "rallies.otio",
    "edl": "rallies.edl",
    "fcpxml": "rallies.fcpxml",
    "srt": "rallies.srt",
    "chapters": "chapters.txt",
    "llc": "rallies.llc",
}
EXPORTS = tuple(FILE_NAMES)
CHAPTER_SEC, CHAPTERS = 10, 3  # YouTube's shortest chapter and smallest number of chapters
REEL_LETTERS = 8  # the longest source name in CMX 3600


def export(
    kinds: Sequence[str],
    folder: str | Path,
    video_path: str | Path,
    fps: Fraction,
    duration_sec: float,
    rallies: Marks,
    cuts: Marks,
) -> list[Path]:
    """Writes the kinds (of EXPORTS) into the folder, each whole, and returns their paths.

    cuts are the rallies with the seconds shown before and after them. fps is the video's exact
    frame rate, such as Fraction(30000, 1001). Prints a note if YouTube's rules leave rallies
    without a chapter. Raises UserError if there are no rallies, if video_path is not a video, if
    its frame rate has no timecode (edl), and if a file cannot be written; the other kinds are
    written all the same. Raises ValueError for an unknown kind.
    """
    if unknown := [kind for kind in kinds if kind not in EXPORTS]:
        raise ValueError(f"unknown export {', '.join(unknown)}; choose from {', '.join(EXPORTS)}")
    folder, video_path = Path(folder), Path(video_path)
    if not cuts:
        raise UserError(f"{video_path}: there are no rallies to export")
    numbers = snap_cuts(cuts, fps, duration_sec)
    make: dict[str, Callable[[], str]] = {
        "otio": lambda: make_timeline(video_path, fps, duration_sec, numbers).to_json_string(),
        "edl": lambda: make_edl(video_path, fps, duration_sec, numbers),
        "fcpxml": lambda: make_fcpxml(video_path, fps, duration_sec, numbers),
        "srt": lambda: make_subtitles(rallies, cuts),
        "chapters": lambda: _noted(*make_chapters(cuts, duration_sec)),
        "llc": lambda: make_llc(folder, video_path, cuts),
    }
    paths = [folder / FILE_NAMES[kind] for kind in kinds]
    problems = []
    for kind, path in zip(kinds, paths, strict=True):
        try:
            write_whole(path, make[kind]().encode())
        except UserError as error:  # go on with the other kinds
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(problems))
    return paths


def snap_cuts(cuts: Marks, fps: Fraction, duration_sec: float) -> list[tuple[int, int]]:
    """Returns (first frame, one past the last) of each cut: at least one frame, inside the file."""
    count = max(round(duration_sec * fps), 1)
    firsts = [min(round(start * fps), count - 1) for start, _ in cuts]
    ends = [min(round(end * fps), count) for _, end in cuts]
    return [(first, max(end, first + 1)) for first, end in zip(firsts, ends, strict=True)]


def make_timeline(
    video_path: Path, fps: Fraction, duration_sec: float, numbers: list[tuple[int, int]]
) -> otio.schema.Timeline:
    """Returns a timeline of the cuts in a row: a video track, and an audio track if there is sound.

    numbers are frame numbers from snap_cuts. The clips are called "Rally 1" and so on, and refer to
    the whole file.
    """
    rate, name = float(fps), " ".join(video_path.name.split())
    full_range = TimeRange(RationalTime(0, rate), RationalTime(round(duration_sec * fps), rate))
    timeline = otio.schema.Timeline(" ".join(video_path.stem.split()))
    for kind in ["Video", "Audio"][: 2 if _form(video_path)[2] else 1]:
        track = otio.schema.Track(kind, kind=kind)
        timeline.tracks.append(track)
        for k, (first, end) in enumerate(numbers, 1):
            media = otio.schema.ExternalReference(video_path.resolve().as_uri(), full_range)
            media.name = name
            part = TimeRange(RationalTime(first, rate), RationalTime(end - first, rate))
            reel = {"reel": _reel(video_path.stem), "comments": [f"SOURCE FILE: {name}"]}
            track.append(otio.schema.Clip(f"Rally {k}", media, part, {"cmx_3600": reel}))
    return timeline


def make_edl(
    video_path: Path, fps: Fraction, duration_sec: float, numbers: list[tuple[int, int]]
) -> str:
    """Returns the cuts as a CMX 3600 edit decision list.

    Raises UserError if the frame rate has no timecode.
    """
    timeline = make_timeline(video_path, fps, duration_sec, numbers)
    try:
        text = otio.adapters.write_to_string(timeline, "cmx_3600", rate=float(fps))
    except ValueError as error:
        raise UserError(
            f"{video_path}: its {float(fps):.3f} frames per second have no EDL timecode ({error}); "
            "use --export otio"
        ) from error
    counting = "DROP FRAME" if re.search(r"\d;\d\d\b", text) else "NON-DROP FRAME"
    return text.replace("\n\n", f"\nFCM: {counting}\n\n", 1)


def make_fcpxml(
    video_path: Path, fps: Fraction, duration_sec: float, numbers: list[tuple[int, int]]
) -> str:
    """Returns the cuts as a Final Cut Pro project with pictures and sound (FCPXML 1.8).

    All times are exact fractions of a second that are whole frames, as Final Cut requires.
    """
    width, height, sound = _form(video_path)
    name, whole = video_path.stem, _seconds(max(round(duration_sec * fps), 1), fps)
    root = ElementTree.Element("fcpxml", version="1.8")
    resources = ElementTree.SubElement(root, "resources")
    form = {"frameDuration": _seconds(1, fps), "width": str(width), "height": str(height)}
    ElementTree.SubElement(resources, "format", {"id": "r1", **form})
    media = {"src": video_path.resolve().as_uri(), "start": "0s", "duration": whole}
    media |= {"hasVideo": "1", "format": "r1"}
    if sound:
        media |= {"hasAudio": "1", "audioSources": "1", "audioChannels": str(sound)}
    ElementTree.SubElement(resources, "asset", {"id": "r2", "name": video_path.name, **media})
    library = ElementTree.SubElement(root, "library")
    event = ElementTree.SubElement(library, "event", name=name)
    project = ElementTree.SubElement(event, "project", name=f"{name} rallies")
    total = _seconds(sum(end - first for first, end in numbers), fps)
    timing = {"format": "r1", "duration": total, "tcStart": "0s", "tcFormat": "NDF"}
    spine = ElementTree.SubElement(ElementTree.SubElement(project, "sequence", timing), "spine")
    offset = 0
    for k, (first, end) in enumerate(numbers, 1):
        place = {"offset": _seconds(offset, fps), "start": _seconds(first, fps)}
        place |= {"duration": _seconds(end - first, fps), "format": "r1", "tcFormat": "NDF"}
        ElementTree.SubElement(spine, "asset-clip", {"name": f"Rally {k}", "ref": "r2", **place})
        offset += end - first
    ElementTree.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n'
    return head + ElementTree.tostring(root, encoding="unicode") + "\n"


def make_subtitles(rallies: Marks, cuts: Marks) -> str:
    """Returns SubRip subtitles for the whole match, shown during the cuts.

    The text gives the length of the rally, not of the cut.
    """
    blocks = []
    for k, ((start, end), cut) in enumerate(zip(rallies, cuts, strict=True), 1):
        shown = " --> ".join(_clock(sec) for sec in cut)
        blocks.append(f"{k}\n{shown}\nRally {k}, {end - start:.1f} s\n")
    return "\n".join(blocks)


def make_chapters(cuts: Marks, duration_sec: float) -> tuple[str, str]:
    """Returns chapters for the YouTube description of the whole match, and a note ("" for none).

    The time before the first rally is a separate chapter, or part of the first rally's chapter if
    it is shorter than 10 seconds. A rally gets no chapter if it begins less than 10 seconds after
    the chapter before, or less than 10 seconds before the end.
    """
    chapters = [(0, "Before the first rally")]
    if cuts[0][0] < CHAPTER_SEC:
        chapters = [(0, "Rally 1")]
    for k, (start, _) in enumerate(cuts, 1):
        sec = int(start)  # rounded down, so that the chapter is not late
        if min(sec - chapters[-1][0], int(duration_sec) - sec) >= CHAPTER_SEC:
            chapters.append((sec, f"Rally {k}"))
    missing = len(cuts) - sum(title.startswith("Rally") for _, title in chapters)
    notes = []
    if missing:
        notes.append(
            f"none for {missing} of {len(cuts)} rallies, because YouTube allows no chapter shorter "
            f"than {CHAPTER_SEC} s"
        )
    if len(chapters) < CHAPTERS:
        notes.append(f"YouTube shows chapters only if there are {CHAPTERS} or more")
    lines = [f"{_minutes(sec)} {title}\n" for sec, title in chapters]
    return "".join(lines), f"chapters: {'; '.join(notes)}" if notes else ""


def make_llc(folder: Path, video_path: Path, cuts: Marks) -> str:
    """Returns a LosslessCut project, to be opened from the folder.

    It has project version 1, which later versions of LosslessCut read.
    """
    video = video_path.resolve()
    try:  # LosslessCut reads the name relative to the folder of the project
        name = Path(os.path.relpath(video, folder.resolve())).as_posix()
    except ValueError:  # on another drive (Windows)
        name = video.name
    segments = [
        {"start": round(start, 6), "end": round(end, 6), "name": f"Rally {k}"}
        for k, (start, end) in enumerate(cuts, 1)
    ]
    project = {"version": 1, "mediaFileName": name, "cutSegments": segments}
    return json.dumps(project, indent=2, ensure_ascii=False) + "\n"


def _noted(text: str, note: str) -> str:
    if note:
        print(note, file=sys.stderr)
    return text


def _form(video_path: Path) -> tuple[int, int, int]:
    """Returns width, height and number of audio channels (0 without sound) of a video file."""
    container, pictures, _ = open_container(video_path)
    with container:
        sound = next((s for s in container.streams.audio if s.codec_context), None)
        return pictures.width, pictures.height, sound.channels if sound else 0


def _reel(stem: str) -> str:
    """Returns a file name as a CMX 3600 source name, or AX (auxiliary source) if none is left."""
    plain = unicodedata.normalize("NFKD", stem)
    return re.sub(r"[^A-Za-z0-9]", "", plain).upper()[:REEL_LETTERS] or "AX"


def _seconds(frames: int, fps: Fraction) -> str:
    sec = frames / fps
    return f"{sec.numerator}s" if sec.denominator == 1 else f"{sec.numerator}/{sec.denominator}s"


def _clock(sec: float) -> str:
    seconds, milliseconds = divmod(round(sec * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{milliseconds:03d}"


def _minutes(sec: int) -> str:
    hours, minutes = divmod(sec // 60, 60)
    return f"{hours}:{minutes:02d}:{sec % 60:02d}" if hours else f"{minutes}:{sec % 60:02d}"
