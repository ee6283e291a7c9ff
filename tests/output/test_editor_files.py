import json
import re
import subprocess
import wave
from fractions import Fraction
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import imageio_ffmpeg
import opentimelineio as otio
import pytest

from conftest import write_video
from files import UserError
from media.video import open_video
from output import editor_files
from output.editor_files import EXPORTS, export, make_chapters

RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50)]
RATES.append(Fraction(60000, 1001))
RALLIES = [(1.5, 9.9), (9.9, 30.0), (61.3, 75.02), (3599.9, 3610.5), (7140.2, 7152.1)]
CUTS = [(0.0, 9.9), (9.9, 31.0), (60.3, 76.02), (3598.9, 3611.5), (7139.25, 7153.125)]
DURATION_SEC = 7200.0
NAME = "Finale März 2024 'A'.mp4"


@pytest.fixture(scope="module")
def match(tmp_path_factory):
    """A file with sound and an unusual name. Its length does not matter here."""
    folder = tmp_path_factory.mktemp("Meine Spiele")
    made = write_video(folder / "made.mp4", "30", 30)
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setparams((2, 2, 48000, 0, "NONE", ""))
        file.writeframes(bytes(4 * 48000))
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    inputs = ["-i", str(made), "-i", str(folder / "sound.wav")]
    command = [*ffmpeg, *inputs, "-c:v", "copy", "-c:a", "aac", str(folder / NAME)]
    subprocess.run(command, check=True)
    return folder / NAME


def written(kind, folder, video, fps=Fraction(30), cuts=CUTS, rallies=RALLIES):
    (path,) = export([kind], folder, video, fps, DURATION_SEC, rallies, cuts)
    return path


def assert_clips_are(clips, fps, video):
    """Asserts that OpenTimelineIO's clips are the cuts, within one frame, and name the file."""
    assert [clip.name for clip in clips] == [f"Rally {k}" for k in range(1, len(CUTS) + 1)]
    for clip, (start, end) in zip(clips, CUTS, strict=True):
        shown = clip.source_range
        assert shown.start_time.rate == pytest.approx(float(fps), abs=1e-6)
        assert abs(shown.start_time.value - start * fps) <= 1
        assert abs(shown.end_time_exclusive().value - end * fps) <= 1
        url = urlparse(clip.media_reference.target_url)
        assert url.scheme == "file" and unquote(url.path) == str(video)


@pytest.mark.parametrize("fps", RATES)
def test_otio_is_read_back_exactly(tmp_path, match, fps):
    timeline = otio.adapters.read_from_file(str(written("otio", tmp_path, match, fps)))
    assert [track.kind for track in timeline.tracks] == ["Video", "Audio"]
    for track in timeline.tracks:
        assert_clips_are(list(track), fps, match)
    whole = timeline.tracks[0][0].media_reference.available_range
    assert whole.start_time.value == 0 and whole.duration.value == round(DURATION_SEC * fps)
    assert timeline.duration().to_seconds() == pytest.approx(73.195, abs=0.1)


@pytest.mark.parametrize("fps", RATES)
def test_an_edl_is_read_back_at_most_one_frame_off(tmp_path, match, fps):
    path = written("edl", tmp_path, match, fps)
    timeline = otio.adapters.read_from_file(str(path), rate=float(fps))
    (track,) = timeline.tracks
    assert_clips_are(list(track), fps, match)
    assert timeline.name == match.stem


@pytest.mark.parametrize("fps", RATES)
def test_an_edl_says_if_its_timecode_is_drop_frame(tmp_path, match, fps):
    title, counting, _, first, *_ = written("edl", tmp_path, match, fps).read_text().splitlines()
    drop = fps in (Fraction(30000, 1001), Fraction(60000, 1001))
    assert counting == ("FCM: DROP FRAME" if drop else "FCM: NON-DROP FRAME")
    colon = ";" if drop else ":"
    code = rf"\d\d:\d\d:\d\d{colon}\d\d"
    assert re.fullmatch(rf"001  FINALEMA V     C        {code} {code} {code} {code}", first)


def drop_frame(text, rate):
    """Returns the frame that a drop-frame timecode names, by SMPTE 12M (rate 30 or 60)."""
    hours, minutes, seconds, frames = map(int, re.split("[:;]", text))
    minutes += 60 * hours
    return (60 * minutes + seconds) * rate + frames - rate // 15 * (minutes - minutes // 10)


@pytest.mark.parametrize("rate", [30, 60])
def test_drop_frame_timecode_names_the_frames(tmp_path, match, rate):
    fps = Fraction(rate * 1000, 1001)
    text = written("edl", tmp_path, match, fps).read_text()
    codes = re.findall(r"C        (\S+) (\S+) (\S+) (\S+)", text)
    numbers = [[drop_frame(code, rate) for code in event] for event in codes]
    offset = 0
    for event, (start, end) in zip(numbers, CUTS, strict=True):
        first, last = round(start * fps), round(end * fps)
        assert event == [first, last, offset, offset + last - first]
        offset += last - first


def test_an_edl_has_a_short_source_name_and_the_whole_file_name(tmp_path, match):
    text = written("edl", tmp_path, match).read_text()
    assert text.count(f"* SOURCE FILE: {NAME}\n") == len(CUTS)
    assert text.count("* FROM CLIP NAME:  Rally 3\n") == 1
    foreign = match.with_name("羽毛球.mp4")
    foreign.write_bytes(match.read_bytes())
    assert "001  AX       V" in written("edl", tmp_path, foreign).read_text()


def test_a_rate_without_timecode_gives_no_edl_but_other_exports(tmp_path, match):
    wrong = r"mp4: its 27.500 frames per second have no EDL timecode.*use --export otio"
    with pytest.raises(UserError, match=wrong):
        written("edl", tmp_path, match, Fraction(55, 2))
    for kind in ("otio", "fcpxml"):
        assert written(kind, tmp_path, match, Fraction(55, 2)).exists()


def in_seconds(text):
    assert text.endswith("s")
    return Fraction(text[:-1])


@pytest.mark.parametrize("fps", RATES)
def test_fcpxml_times_are_whole_frames_of_the_cuts(tmp_path, match, fps):
    root = ElementTree.parse(written("fcpxml", tmp_path, match, fps)).getroot()
    form, asset = root.find("resources/format"), root.find("resources/asset")
    assert in_seconds(form.get("frameDuration")) == 1 / fps
    assert (form.get("width"), form.get("height")) == ("80", "80")
    assert unquote(urlparse(asset.get("src")).path) == str(match)
    assert (asset.get("hasVideo"), asset.get("hasAudio"), asset.get("audioChannels")) == (
        "1",
        "1",
        "2",
    )
    assert in_seconds(asset.get("duration")) * fps == round(DURATION_SEC * fps)
    clips, offset = root.findall("library/event/project/sequence/spine/asset-clip"), 0
    for k, (clip, (start, end)) in enumerate(zip(clips, CUTS, strict=True), 1):
        times = [in_seconds(clip.get(name)) * fps for name in ("offset", "start", "duration")]
        assert times == [offset, round(start * fps), round(end * fps) - round(start * fps)]
        assert (clip.get("name"), clip.get("ref")) == (f"Rally {k}", asset.get("id"))
        offset += times[2]
    assert in_seconds(root.find(".//sequence").get("duration")) * fps == offset


@pytest.mark.parametrize("fps", [25, 30, 50])
def test_opentimelineio_reads_fcpxml_at_the_rates_that_it_knows(tmp_path, match, fps):
    text = written("fcpxml", tmp_path, match, Fraction(fps)).read_text()
    events = otio.adapters.read_from_string(text, "fcpx_xml")
    assert_clips_are(list(events[0].find_clips()), Fraction(fps), match)


def test_a_video_without_sound_has_no_audio_track(tmp_path):
    silent = write_video(tmp_path / "silent.mp4", "30", 30)
    timeline = otio.adapters.read_from_file(str(written("otio", tmp_path, silent)))
    assert [track.kind for track in timeline.tracks] == ["Video"]
    assert "hasAudio" not in written("fcpxml", tmp_path, silent).read_text()


@pytest.mark.parametrize("fps", RATES)
def test_touching_cuts_share_no_frame_and_none_is_empty(fps):
    cuts = [(0.0, 4.013), (4.013, 4.014), (5.0, 7.9999)]
    (_, end), (first, after), (_, last) = editor_files.snap_cuts(cuts, fps, 7.99)
    assert end == first and after == first + 1 and last == round(7.99 * fps)


def test_cuts_go_to_the_nearest_frame_as_in_a_reel(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", "30000/1001", 200))
    ((first, end),) = editor_files.snap_cuts([(1.51, 4.99)], Fraction(30000, 1001), video.end_sec)
    assert abs(video.times_sec - 1.51).argmin() == first
    assert abs(video.times_sec - 4.99).argmin() == end


def test_subtitles_are_shown_during_the_cuts_and_give_the_length_of_the_rally(tmp_path, match):
    text = written("srt", tmp_path, match).read_text()
    code = r"(\d\d):(\d\d):(\d\d),(\d\d\d)"
    blocks = re.findall(rf"(\d+)\n{code} --> {code}\n(.+)\n", text)
    assert len(blocks) == len(re.split(r"\n\n", text)) == len(CUTS)
    for k, (block, cut, rally) in enumerate(zip(blocks, CUTS, RALLIES, strict=True), 1):
        number, *times, title = block
        h, m, s, ms = (list(map(int, times[i::4])) for i in range(4))
        shown = [3600 * h[i] + 60 * m[i] + s[i] + ms[i] / 1000 for i in range(2)]
        assert shown == pytest.approx(cut) and int(number) == k
        assert title == f"Rally {k}, {rally[1] - rally[0]:.1f} s"


def starts_of(text):
    """Returns {title: seconds} of chapters."""
    found = re.findall(r"^(?:(\d+):)?(\d+):(\d\d) (.+)$", text, re.MULTILINE)
    assert len(found) == len(text.splitlines())
    return {title: int(h or 0) * 3600 + int(m) * 60 + int(s) for h, m, s, title in found}


@pytest.mark.parametrize("first_sec", [0.0, 4.0, 9.99, 10.0, 45.3])
@pytest.mark.parametrize("gap_sec", [3.0, 9.5, 10.2, 31.0])
def test_chapters_keep_youtubes_rules(first_sec, gap_sec):
    cuts = [(first_sec + k * gap_sec, first_sec + k * gap_sec + 2.9) for k in range(150)]
    duration_sec = cuts[-1][1] + 4.0
    text, note = make_chapters(cuts, duration_sec)
    starts = starts_of(text)
    assert text.startswith("0:00 ") and len(starts) >= 3
    borders = [*starts.values(), duration_sec]
    assert all(after - before >= 10 for before, after in zip(borders, borders[1:], strict=False))
    rallies = {int(title[6:]): sec for title, sec in starts.items() if title.startswith("Rally")}
    for k, sec in rallies.items():
        assert sec == int(cuts[k - 1][0]) or (sec == 0 and k == 1)
    missing = 150 - len(rallies)
    assert missing >= 1 and note.startswith(f"chapters: none for {missing} of 150 rallies")


def test_chapters_of_rallies_far_apart_leave_none_out(tmp_path, match, capsys):
    cuts = [(12.7, 20.0), (70.0, 75.0), (3725.2, 3740.0)]
    text = written("chapters", tmp_path, match, cuts=cuts, rallies=cuts).read_text()
    assert text == ("0:00 Before the first rally\n0:12 Rally 1\n1:10 Rally 2\n1:02:05 Rally 3\n")
    assert capsys.readouterr().err == ""


def test_too_few_chapters_are_written_with_a_warning(tmp_path, match, capsys):
    cuts = [(3.0, 9.0), (12.0, 15.0)]
    text = written("chapters", tmp_path, match, cuts=cuts, rallies=cuts).read_text()
    assert text == "0:00 Rally 1\n0:12 Rally 2\n"
    assert "chapters only if there are 3 or more" in capsys.readouterr().err


def test_llc_is_a_losslesscut_project(tmp_path, match):
    folder = match.parent / "out"
    project = json.loads(written("llc", folder, match).read_text())
    assert project["version"] == 1
    assert project["mediaFileName"] == f"../{NAME}"
    assert (folder / project["mediaFileName"]).samefile(match)
    segments = [(s["start"], s["end"], s["name"]) for s in project["cutSegments"]]
    assert segments == [(*cut, f"Rally {k}") for k, cut in enumerate(CUTS, 1)]


def test_each_kind_has_its_file_and_nothing_else_is_left(tmp_path, match):
    paths = export(list(EXPORTS), tmp_path / "out", match, RATES[2], DURATION_SEC, RALLIES, CUTS)
    editors = ["rallies.otio", "rallies.edl", "rallies.fcpxml"]
    names = [*editors, "rallies.srt", "chapters.txt", "rallies.llc"]
    assert [path.name for path in paths] == names
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)


def test_impossible_exports_are_refused(tmp_path, match):
    with pytest.raises(UserError, match=r"mp4: there are no rallies to export"):
        export(["srt"], tmp_path, match, Fraction(30), 10.0, [], [])
    with pytest.raises(UserError, match="no such file"):
        export(["otio"], tmp_path, tmp_path / "none.mp4", Fraction(30), 10.0, RALLIES, CUTS)
    with pytest.raises(UserError, match="cannot write"):
        export(["srt"], match, match, Fraction(30), 10.0, RALLIES, CUTS)
    with pytest.raises(ValueError, match="unknown export xml; choose from otio, "):
        export(["srt", "xml"], tmp_path, match, Fraction(30), 10.0, RALLIES, CUTS)
    assert list(tmp_path.iterdir()) == []
