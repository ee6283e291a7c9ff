import os
import subprocess
import wave
from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import pytest
from scipy.signal import correlate

from conftest import number_in, write_video
from files import UserError
from media.video import open_video
from output import reel
from output.reel import SAMPLE_RATE, make_clips, make_reel, pad_rallies
from sample.match import draw_match

SYNC_SEC = 0.040
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3", "-g", "50"]
SLOW_THEN_FAST = "settb=1/90000,setpts='if(lt(N,50),N/25,2+(N-50)/50)/TB'"
VARIABLE = ["-vf", SLOW_THEN_FAST, "-fps_mode", "passthrough", "-enc_time_base", "1/90000", *H264]
INTERLACED = [*H264, "-flags", "+ildct+ilme", "-x264-params", "tff=1"]
VP9 = ["-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", "-cpu-used", "8"]


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    subprocess.run([*command, *map(str, arguments)], check=True)


def ignore(share):
    pass


def write_clicks(path, clicks_sec, duration_sec):
    sound, burst = np.zeros(round(duration_sec * SAMPLE_RATE)), np.arange(240) / SAMPLE_RATE
    for click in clicks_sec:
        first = round(click * SAMPLE_RATE)
        sound[first : first + 240] = 0.8 * np.cos(12566 * burst) * np.exp(-burst / 0.002)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(np.int16(32767 * sound).tobytes())


def with_clicks(path, rate="25", count=200, pictures=H264, codec="aac", late_sec=0.0, options=()):
    """Writes numbered pictures with a click when each of the returned frames comes on screen.

    late_sec is how much later than the sound the pictures begin; below 0, the sound begins later.
    """
    made = write_video(path.with_name(f"made{path.suffix}"), rate, count, *pictures)
    times_sec = open_video(made).times_sec
    frames = np.cumsum(np.random.default_rng(1).integers(5, 25, count))
    frames = [k for k in frames if k < count - 5 and times_sec[k] + late_sec > 0]
    sound, clicks_sec = path.with_name("clicks.wav"), times_sec[frames] + late_sec
    write_clicks(sound, clicks_sec, times_sec[-1] + late_sec)
    inputs = ["-itsoffset", max(late_sec, 0), "-i", made, "-itsoffset", max(-late_sec, 0)]
    ffmpeg(*inputs, "-i", sound, "-c:v", "copy", "-c:a", codec, *options, path)
    made.unlink()
    sound.unlink()
    return path, set(frames)


def load_frames(path):
    """Returns when each frame comes on screen, and the number in it."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    numbers = [number_in(frame.to_ndarray(format="gray")) for frame in frames]
    return np.array([frame.time for frame in frames]), numbers


def load_sound(path):
    """Returns float (samples,) from time 0 of the file, with silence where there is no sound."""
    sound = np.zeros(0)
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            samples = av.AudioResampler("fltp", "mono", SAMPLE_RATE).resample(frame)[0]
            samples, first = samples.to_ndarray()[0], round(frame.time * SAMPLE_RATE)
            samples, first = samples[max(-first, 0) :], max(first, 0)
            sound = np.pad(sound, (0, max(first + len(samples) - len(sound), 0)))
            sound[first : first + len(samples)] = samples
    return sound


def clicks_in(sound):
    loud = np.flatnonzero(np.abs(sound) > 0.2) / SAMPLE_RATE
    return loud[np.diff(loud, prepend=-1) > 0.02]


def cuts_between(frames, times_sec, count):
    """Returns `count` cuts spread over the video. No click is nearer than 2 frames to an edge."""
    free = [k for k in range(2, len(times_sec) - 3) if not set(range(k - 2, k + 3)) & set(frames)]
    edges = [free[round(k)] for k in np.linspace(0, len(free) - 1, 2 * count)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def assert_frames_and_clicks(path, frames, count=4):
    """Asserts that a reel of path shows exactly the frames of its cuts, and clicks with them."""
    times_sec = open_video(path).times_sec
    cuts = cuts_between(frames, times_sec, count)
    third_sec = np.diff(times_sec).min() / 3  # edges between frames move to the nearest frame
    marks = [(times_sec[a] + third_sec, times_sec[b] - third_sec) for a, b in cuts]
    target = path.with_name("reel.mp4")
    assert make_reel(path, marks, target, ignore) == target
    shown_sec, numbers = load_frames(target)
    assert numbers == [k for first, last in cuts for k in range(first, last)]
    expected_sec = [sec for sec, k in zip(shown_sec, numbers, strict=True) if k in frames]
    heard_sec = clicks_in(load_sound(target))
    assert len(heard_sec) == len(expected_sec) >= 3
    late_sec = heard_sec - expected_sec
    assert np.abs(late_sec).max() < SYNC_SEC
    assert np.ptp(late_sec) < 0.004  # nothing adds up from the first cut to the last
    lasts = [np.diff(times_sec)[first:last].sum() for first, last in cuts]
    np.testing.assert_allclose(shown_sec[-1] - shown_sec[0], sum(lasts), atol=0.05)


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30", "50", "60000/1001"])
def test_every_cut_and_its_sound_are_exact_to_the_frame(tmp_path, rate):
    count = int(8 * Fraction(rate))
    assert_frames_and_clicks(*with_clicks(tmp_path / "v.mp4", rate, count), count=6)


def test_errors_do_not_add_up_over_many_cuts(tmp_path):
    assert_frames_and_clicks(*with_clicks(tmp_path / "v.mp4", "30000/1001", 900), count=30)


ODD = {
    "variable.mp4": {"pictures": VARIABLE},
    "variable.mkv": {"pictures": VARIABLE},
    "v.mkv": {"rate": "30000/1001"},
    "v.ts": {"rate": "30000/1001"},
    "late_pictures.mp4": {"late_sec": 3.0},
    "late_pictures.mkv": {"late_sec": 30.0},
    "late_pictures.ts": {"late_sec": 3.0},
    "late_sound.mp4": {"late_sec": -4.0},
    "late_sound.mkv": {"late_sec": -4.0},
    "late_sound.ts": {"late_sec": -4.0},
    "clock.ts": {"options": ["-output_ts_offset", "95435"]},  # the MPEG-TS clock wraps on the way
    "offset.mp4": {"options": ["-output_ts_offset", "500"]},
    "fragments.mp4": {"options": ["-movflags", "frag_keyframe+empty_moov"]},
    "opus.webm": {"pictures": VP9, "codec": "libopus"},
    "interlaced.ts": {"pictures": INTERLACED, "codec": "mp2"},
    "surround.mp4": {"options": ["-ac", "6", "-ar", "44100"]},
}


@pytest.mark.parametrize("name", ODD)
def test_unusual_files_are_cut_exactly_too(tmp_path, name):
    assert_frames_and_clicks(*with_clicks(tmp_path / name, **ODD[name]))


def test_frames_removed_by_an_edit_list_are_not_shown(tmp_path):
    path, frames = with_clicks(tmp_path / "whole.mp4")
    ffmpeg("-ss", "2.48", "-i", path, "-c", "copy", tmp_path / "v.mp4")
    make_reel(tmp_path / "v.mp4", [(0.0, 2.0), (3.0, 5.0)], tmp_path / "reel.mp4", ignore)
    shown_sec, numbers = load_frames(tmp_path / "reel.mp4")
    assert numbers == [*range(62, 112), *range(137, 187)]
    clicks_sec = [sec for sec, k in zip(shown_sec, numbers, strict=True) if k in frames]
    heard_sec = clicks_in(load_sound(tmp_path / "reel.mp4"))
    np.testing.assert_allclose(heard_sec, clicks_sec, atol=SYNC_SEC)


def test_sound_that_ends_early_is_followed_by_silence(tmp_path):
    path = write_video(tmp_path / "pictures.mp4", "25", 450, *H264)
    write_clicks(tmp_path / "clicks.wav", [1.0, 3.0], 4.0)
    inputs = ["-i", path, "-i", tmp_path / "clicks.wav"]
    for name in ("v.mp4", "v.ts"):
        ffmpeg(*inputs, "-c:v", "copy", "-c:a", "aac", tmp_path / name)
        cuts = [(0.4, 2.0), (2.6, 9.0), (10.0, 12.0)]
        make_reel(tmp_path / name, cuts, tmp_path / "reel.mp4", ignore)
        sound = load_sound(tmp_path / "reel.mp4")
        np.testing.assert_allclose(clicks_in(sound), [0.6, 2.0], atol=0.01)
        assert len(sound) / SAMPLE_RATE == pytest.approx(10.0, abs=0.05)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Draws one match for each frame rate and returns (its path, the seconds of its hits)."""
    folder, drawn = tmp_path_factory.mktemp("drawn"), {}

    def draw(fps):
        if fps not in drawn:
            path = folder / f"{fps}.mp4"
            scenes = draw_match(path, 3, 12, fps)
            drawn[fps] = path, [hit for scene in scenes for hit in scene.hits]
        return drawn[fps]

    return draw


def draw_variable(drawn, path):
    """Drops one or two of every five frames of a drawn match. The sound stays as it is."""
    match, hits_sec = drawn(30)
    fewer = ["-vf", "select='not(eq(mod(n,5),1)+eq(mod(n,5),3)*gt(random(0),0.5))'"]
    ffmpeg("-i", match, *fewer, "-fps_mode", "passthrough", "-c:a", "copy", path)
    assert len(np.unique(np.diff(open_video(path).times_sec).round(3))) > 1
    return path, hits_sec


def load_pictures(path):
    """Returns when each frame comes on screen, and float (N, 180, 320) grey pictures."""
    with av.open(path) as container:
        frames = [frame.reformat(320, 180, "gray") for frame in container.decode(video=0)]
    pictures = np.array([frame.to_ndarray() for frame in frames], np.float32)
    return np.array([frame.time for frame in frames]), pictures


def place_of(knock, sound):
    """Returns the sample at which a knock starts: the highest normalised cross-correlation."""
    energy = correlate(sound**2, np.ones(len(knock)), "valid")
    return np.argmax(correlate(sound, knock, "valid") / np.sqrt(energy + 1e-6))


@pytest.mark.parametrize("fps", [25, 29.97, 30, 50, "variable"])
def test_the_knock_of_each_hit_is_heard_with_the_frame_that_shows_it(tmp_path, drawn, fps):
    variable = fps == "variable"
    path, hits_sec = draw_variable(drawn, tmp_path / "v.mkv") if variable else drawn(fps)
    assert len(hits_sec) >= 3
    cuts = [(hit - 0.35, hit + 0.3) for hit in hits_sec]
    make_reel(path, cuts, tmp_path / "reel.mp4", ignore)
    times_sec, pictures = load_pictures(path)
    reel_sec, reel_pictures = load_pictures(tmp_path / "reel.mp4")
    sound, reel_sound = load_sound(path), load_sound(tmp_path / "reel.mp4")
    borders_sec = np.cumsum([0, *(end - start for start, end in cuts)])
    for hit, begin, end in zip(hits_sec, borders_sec, borders_sec[1:], strict=False):
        shown = np.searchsorted(times_sec, hit, side="right") - 1
        here = np.flatnonzero((reel_sec > begin - 0.1) & (reel_sec < end + 0.1))
        far = np.square(reel_pictures[here] - pictures[shown]).mean(axis=(1, 2))
        frame_sec = reel_sec[here[far.argmin()]]
        first = round(hit * SAMPLE_RATE)
        knock = sound[first - 240 : first + 960]
        low = round(max(begin - 0.1, 0) * SAMPLE_RATE)
        place = low + place_of(knock, reel_sound[low : round((end + 0.1) * SAMPLE_RATE)]) + 240
        knock_sec = place / SAMPLE_RATE
        assert abs((knock_sec - frame_sec) - (hit - times_sec[shown])) < SYNC_SEC


def test_touching_cuts_show_every_frame_once(tmp_path):
    path = write_video(tmp_path / "v.mp4", "30", 120, *H264)
    make_reel(path, [(0.51, 1.51), (1.51, 1.52), (1.52, 3.0)], tmp_path / "reel.mp4", ignore)
    assert load_frames(tmp_path / "reel.mp4")[1] == [*range(15, 46), *range(46, 90)]


def test_a_cut_may_be_from_the_first_frame_to_the_last(tmp_path):
    path = write_video(tmp_path / "v.mp4", "30", 60, *H264)
    make_reel(path, [(0.0, 2.0)], tmp_path / "reel.mp4", ignore)
    assert load_frames(tmp_path / "reel.mp4")[1] == list(range(60))
    make_reel(path, [(1.99, 7.0)], tmp_path / "reel.mp4", ignore)
    assert load_frames(tmp_path / "reel.mp4")[1] == [59]


def test_a_cut_inside_a_long_frame_shows_that_frame(tmp_path):
    still = ["-vf", "select='lt(n,45)+gt(n,135)'", "-fps_mode", "passthrough"]
    path = write_video(tmp_path / "v.mp4", "30", 200, *H264, *still)
    make_reel(path, [(2.0, 3.0), (3.5, 4.6)], tmp_path / "reel.mp4", ignore)
    shown_sec, numbers = load_frames(tmp_path / "reel.mp4")
    assert numbers == [44, 44, 136, 137]
    np.testing.assert_allclose(shown_sec, [0, 1, 1 + 136 / 30 - 3.5, 1 + 137 / 30 - 3.5], atol=1e-4)


def commands_of(monkeypatch):
    commands, run = [], reel.run_ffmpeg
    monkeypatch.setattr(reel, "run_ffmpeg", lambda c, *rest: (commands.append(c), run(c, *rest)))
    return commands


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_only_the_video_near_a_cut_is_read(tmp_path, monkeypatch, name):
    path = write_video(tmp_path / name, "30", 1000, *H264)
    commands = commands_of(monkeypatch)
    make_reel(path, [(29.0, 29.5), (31.0, 31.5)], tmp_path / "reel.mp4", ignore)
    seeks = [float(c[c.index("-ss") + 1]) for c in commands if "-ss" in c]
    assert len(commands) == 3 and len(seeks) == 2 and min(seeks) > 20
    assert load_frames(tmp_path / "reel.mp4")[1] == [*range(870, 885), *range(930, 945)]


def test_a_seek_that_lands_too_late_is_repeated(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", "30", 600, *H264)
    monkeypatch.setattr(reel, "EARLY_SEC", -6.0)
    make_reel(path, [(14.0, 15.0), (17.0, 18.0)], tmp_path / "reel.mp4", ignore)
    assert load_frames(tmp_path / "reel.mp4")[1] == [*range(420, 450), *range(510, 540)]


@pytest.mark.parametrize("turn, size", [(0, (320, 240)), (90, (240, 320)), (180, (320, 240))])
def test_a_rotated_video_of_odd_size_becomes_upright_and_even(tmp_path, turn, size):
    source = ["-f", "lavfi", "-i", "testsrc2=s=321x241:r=30:d=2", "-pix_fmt", "yuv444p"]
    ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", tmp_path / "made.mp4")
    turned = ["-display_rotation:v:0", turn, "-i", tmp_path / "made.mp4", "-c", "copy"]
    ffmpeg(*turned, tmp_path / "v.mp4")
    make_reel(tmp_path / "v.mp4", [(0.5, 0.7), (1.5, 1.7)], tmp_path / "reel.mp4", ignore)
    with av.open(tmp_path / "reel.mp4") as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height, frame.rotation) == (*size, 0)
    assert frame.format.name == "yuv420p"
    with av.open(tmp_path / "made.mp4") as container:
        original = list(container.decode(video=0))[15].to_ndarray(format="gray").astype(int)
    upright = np.rot90(original, turn // 90)[: size[1], : size[0]]
    assert np.abs(upright - frame.to_ndarray(format="gray")).mean() < 8


def test_a_video_that_changes_its_size_gives_one_size(tmp_path):
    for k, size in enumerate(["320x240", "640x360"]):
        source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={4 + 4 * k}"]
        ffmpeg(*source, *H264, "-output_ts_offset", 4 * k, tmp_path / f"{k}.ts")
    parts = [(tmp_path / f"{k}.ts").read_bytes() for k in range(2)]
    (tmp_path / "v.ts").write_bytes(b"".join(parts))
    make_reel(tmp_path / "v.ts", [(1, 2), (3, 5), (10, 11)], tmp_path / "reel.mp4", ignore)
    with av.open(tmp_path / "reel.mp4") as container:
        assert {(f.width, f.height) for f in container.decode(video=0)} == {(320, 240)}


def test_a_video_without_sound_gives_a_reel_without(tmp_path):
    path = write_video(tmp_path / "v.mkv", "30", 90, *H264)
    make_reel(path, [(0.5, 1.0), (1.5, 2.0)], tmp_path / "reel.mp4", ignore)
    with av.open(tmp_path / "reel.mp4") as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_the_reel_is_h264_and_aac_that_begin_at_0(tmp_path):
    path, _ = with_clicks(tmp_path / "v.mp4", count=100)
    make_reel(path, [(0.5, 1.0), (1.5, 2.0)], tmp_path / "reel.mp4", ignore)
    with av.open(tmp_path / "reel.mp4") as container:
        pictures, sound = container.streams
        assert (pictures.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert (sound.sample_rate, pictures.start_time, sound.start_time) == (48000, 0, 0)


def test_progress_rises_to_1(tmp_path):
    path, _ = with_clicks(tmp_path / "v.mp4", count=200)
    for make, target in ((make_reel, "reel.mp4"), (make_clips, "clips")):
        shares = []
        make(path, [(0.5, 2.0), (3.0, 5.0)], tmp_path / target, shares.append)
        assert shares == sorted(shares) and shares[-1] == 1.0 and 0 <= shares[0] < 1


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_clips_replace_those_of_an_earlier_run_and_nothing_else(tmp_path):
    path, folder = write_video(tmp_path / "v.mp4", "30", 90, *H264), tmp_path / "clips"
    cuts = [(0.0, 0.5), (0.5, 1.0), (2.0, 3.0)]
    assert make_clips(path, cuts, folder, ignore) == [
        folder / f"rally_00{k}.mp4" for k in (1, 2, 3)
    ]
    assert [load_frames(folder / name)[1][0] for name in names(folder)] == [0, 15, 60]
    (folder / "rally_notes.mp4").write_text("mine")
    assert len(make_clips(path, cuts[2:], folder, ignore)) == 1
    assert names(folder) == ["rally_001.mp4", "rally_notes.mp4"]
    assert load_frames(folder / "rally_001.mp4")[1] == list(range(60, 90))


def test_impossible_cuts_are_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4", "30", 60, *H264)
    for make in (make_reel, make_clips):
        with pytest.raises(UserError, match="v.mp4: there are no rallies for a reel or clips"):
            make(path, [], tmp_path / "out", ignore)
        wrong = r"v.mp4: a rally cannot last from 3.000 to 4.000 s; the video ends at 2.000 s"
        with pytest.raises(UserError, match=wrong):
            make(path, [(0.5, 1.0), (3.0, 4.0)], tmp_path / "out", ignore)
        with pytest.raises(UserError, match="no such file"):
            make(tmp_path / "none.mp4", [(0, 1)], tmp_path / "out", ignore)
    assert names(tmp_path) == ["v.mp4"]


def test_the_video_itself_is_never_overwritten(tmp_path):
    path = write_video(tmp_path / "rally_007.mp4", "30", 60, *H264)
    whole = path.read_bytes()
    for make, target in ((make_reel, path), (make_clips, tmp_path)):
        with pytest.raises(UserError, match="rally_007.mp4: .* overwrite the video.*--out DIR"):
            make(path, [(0, 1)], target, ignore)
    assert path.read_bytes() == whole and names(tmp_path) == [path.name]


def play_ffmpeg(monkeypatch, folder, script):
    """Replaces ffmpeg by a shell script, in which "$target" is the file to write."""
    path = folder / "ffmpeg"
    path.write_text(f'#!/bin/sh\nfor target; do :; done\ntarget="${{target#file:}}"\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(path))


FULL_DISK = 'echo half > "$target"; echo "No space left on device" >&2; exit 1'


@pytest.mark.parametrize("when", ["cutting", "joining"])
def test_a_full_disk_is_reported_and_the_earlier_files_stay(tmp_path, monkeypatch, when):
    path, target = write_video(tmp_path / "v.mp4", "30", 60, *H264), tmp_path / "reel.mp4"
    make_reel(path, [(0, 1)], target, ignore)
    clips = make_clips(path, [(0, 1), (1, 2)], tmp_path / "clips", ignore)
    whole = [p.read_bytes() for p in (target, *clips)]
    real = imageio_ffmpeg.get_ffmpeg_exe()
    script = FULL_DISK if when == "cutting" else f'case "$*" in *concat*) {FULL_DISK};; esac'
    play_ffmpeg(monkeypatch, tmp_path, f'{script}\nexec {real} "$@"')
    for make, place in ((make_reel, target), (make_clips, tmp_path / "clips")):
        with pytest.raises(UserError, match=r"v.mp4: .*\(No space left on device\); check that"):
            make(path, [(0, 1)], place, ignore)
    assert [p.read_bytes() for p in (target, *clips)] == whole
    assert names(tmp_path) == ["clips", "ffmpeg", "reel.mp4", "v.mp4"]
    assert names(tmp_path / "clips") == ["rally_001.mp4", "rally_002.mp4"]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    path = write_video(tmp_path / "v.mp4", "30", 60, *H264)
    with pytest.raises(UserError, match="v.mp4: could not cut out the rallies"):
        make_reel(path, [(0, 1)], path / "reel.mp4", ignore)


def test_an_interruption_ends_ffmpeg_and_leaves_no_files(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", "30", 60, *H264)
    endless = f'echo $$ > {tmp_path}/pid; echo half > "$target"; echo out_time_us=1; exec sleep 60'
    play_ffmpeg(monkeypatch, tmp_path, endless)

    def stop(share):
        raise KeyboardInterrupt

    for make, target in ((make_reel, "reel.mp4"), (make_clips, "clips")):
        with pytest.raises(KeyboardInterrupt):
            make(path, [(0, 1)], tmp_path / target, stop)
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)
    assert names(tmp_path) == ["clips", "ffmpeg", "pid", "v.mp4"]
    assert names(tmp_path / "clips") == []


def test_padding_stays_inside_the_match():
    assert pad_rallies([(0.5, 4.0), (20.0, 29.5)], 1.0, 2.0, 30.0) == [(0.0, 6.0), (19.0, 30.0)]
    assert pad_rallies([], 1.0, 2.0, 30.0) == []


def test_paddings_that_would_overlap_share_the_gap_in_proportion():
    padded = pad_rallies([(15.0, 20.0), (2.0, 10.0), (12.0, 15.0)], 1.0, 3.0, 60.0)
    assert padded == [(1.0, 11.5), (11.5, 15.0), (15.0, 23.0)]
    assert pad_rallies([(1.0, 2.0), (3.0, 4.0)], 0.0, 5.0, 9.0) == [(1.0, 3.0), (3.0, 9.0)]


def test_no_padding_leaves_the_rallies_as_they_are():
    rallies = [(1.0, 2.0), (2.0, 4.0)]
    assert pad_rallies(rallies, 0.0, 0.0, 9.0) == rallies


def test_rallies_of_another_file_and_overlapping_ones_are_refused():
    with pytest.raises(UserError, match="overlaps"):
        pad_rallies([(1.0, 3.0), (2.0, 4.0)], 0.0, 0.0, 9.0)
    with pytest.raises(UserError, match="another file"):
        pad_rallies([(1.0, 3.0), (9.5, 12.0)], 0.0, 0.0, 9.0)
    with pytest.raises(UserError, match=r"must be 0 s or more, not -1.0 and 0.0"):
        pad_rallies([(1.0, 3.0)], -1.0, 0.0, 9.0)
