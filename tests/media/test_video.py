import subprocess
import wave

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from conftest import number_in, write_video
from files import UserError
from media.frames import FrameError
from media.video import frames_at, open_container, open_video, read_sequence_at

H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
OTHER_ENCODINGS = {
    "stream.ts": [*H264, "-g", "40"],
    "open_gop.ts": [*H264, "-g", "30", "-x264-params", "open-gop=1"],
    "broadcast.ts": ["-c:v", "mpeg2video", "-g", "15", "-bf", "2"],
    "v.mkv": [*H264, "-g", "40"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", "-g", "40", "-cpu-used", "8"],
    "offset.mp4": [*H264, "-output_ts_offset", "5"],
    "offset.ts": [*H264, "-output_ts_offset", "5"],
    "index_in_front.mp4": [*H264, "-movflags", "+faststart"],
    "fragments.mp4": [*H264, "-g", "40", "-movflags", "frag_keyframe+empty_moov"],
    "b_frames.mp4": [*H264, "-bf", "8", "-b_strategy", "0", "-x264-params", "b-pyramid=normal"],
    "no_b_frames.mp4": [*H264, "-bf", "0"],
    "hevc.mp4": ["-c:v", "libx265", "-x265-params", "log-level=none", "-g", "40"],
    "xvid.avi": ["-c:v", "mpeg4", "-vtag", "xvid", "-bf", "2", "-g", "40", "-q:v", "3"],
    "v.flv": [*H264, "-g", "40"],
    "late.mkv": [*H264, "-g", "40", "-output_ts_offset", "5"],
    "late.webm": ["-c:v", "libvpx", "-g", "40", "-output_ts_offset", "5"],
    "interlaced.ts": [*H264, "-g", "40", "-flags", "+ildct+ilme", "-x264-params", "tff=1"],
}


def on_screen(rate, start_sec, count=30):
    """The frame number on screen at each time, from the rate alone; up to 1 ms late is on time."""
    return [int((start_sec + k / 30 + 0.001) * rate) for k in range(count)]


def numbers(video, start_sec, **options):
    return [number_in(frame) for frame in read_sequence_at(video, start_sec, **options)]


def decode_all(path):
    with av.open(path) as container:
        return list(container.decode(video=0))


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    subprocess.run([*command, *map(str, arguments)], check=True)


@pytest.mark.parametrize("start_sec", [0, 1.3, 4.0, 6.5])
@pytest.mark.parametrize("rate", ["10", "25", "30000/1001", "30", "50", "60"])
def test_each_frame_is_the_one_on_screen_at_its_time(tmp_path, rate, start_sec):
    number, _, by = rate.partition("/")
    rate_per_sec = int(number) / int(by or 1)
    video = open_video(write_video(tmp_path / "v.mp4", rate, int(rate_per_sec * 8)))
    assert numbers(video, start_sec) == on_screen(rate_per_sec, start_sec)


@pytest.mark.parametrize("name", OTHER_ENCODINGS)
def test_containers_codecs_and_start_offsets_change_nothing(tmp_path, name):
    path = write_video(tmp_path / name, "30", 300, *OTHER_ENCODINGS[name])
    video = open_video(path)
    for start_sec in (2.5, 0.0, 6.1, 6.2, 3.4, 9.0):
        assert numbers(video, start_sec) == on_screen(30, start_sec)
    assert not video.is_truncated and not video.damaged.any()


def test_a_variable_rate_is_followed(tmp_path):
    slow_then_fast = "settb=1/90000,setpts='if(lt(N,50),N/25,2+(N-50)/50)/TB'"
    options = ["-vf", slow_then_fast, "-fps_mode", "passthrough", "-enc_time_base", "1/90000"]
    path = write_video(tmp_path / "v.mp4", "25", 200, *options, "-pix_fmt", "yuv420p")
    expected = [
        int(25 * t) if t < 2 else 50 + int(50 * (t - 2))
        for t in (1.5 + k / 30 + 0.001 for k in range(30))
    ]
    assert numbers(open_video(path), 1.5) == expected


def test_native_takes_consecutive_frames(tmp_path):
    path = write_video(tmp_path / "v.mp4", "50", 200)
    assert numbers(open_video(path), 1.0, fps=None) == list(range(50, 80))


def test_sequences_in_any_order_and_overlapping_are_the_same(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", "30", 900, *H264, "-g", "250"))
    for start_sec in (7.0, 0.5, 28.5, 28.6, 28.7, 0.0, 29.0, 12.0, 12.0, 13.0, 14.0):
        assert numbers(video, start_sec) == on_screen(30, start_sec)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_pixels_equal_those_of_opencv_and_are_upright(tmp_path, turn):
    made, turned = tmp_path / "made.mp4", tmp_path / "turned.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=426x240:r=30:d=2", "-colorspace", "bt709"]
    ffmpeg(*source, *H264, made)
    ffmpeg("-display_rotation:v:0", turn, "-i", made, "-c", "copy", turned)
    reader = cv2.VideoCapture(str(turned), cv2.CAP_FFMPEG)
    pictures = [reader.read()[1] for _ in range(60)]
    assert pictures[0].shape == ((240, 426, 3) if turn % 180 == 0 else (426, 240, 3))
    frames = read_sequence_at(open_video(turned), 0.5)
    for picture, frame in zip(pictures[15:45], frames, strict=True):
        expected = cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize("start_sec", [0, 1.0, 1.0 + 1 / 30, 7.0])
def test_a_second_field_is_on_screen_as_the_frame_that_it_completes(tmp_path, start_sec):
    """No encoder here writes fields, so a fake decoder leaves out every other frame."""
    video = open_video(write_video(tmp_path / "v.ts", "30", 240, *OTHER_ENCODINGS["interlaced.ts"]))
    assert video.interlaced
    pictures = decode_all(video.path)
    near = max(
        int(start_sec * 30) // 2 * 2 - 2, 0
    )  # near enough that it does not seek away from the fake decoder
    video.decoder = iter([(k, pictures[k]) for k in range(near, 240, 2)])
    video.position = near - 1
    assert numbers(video, start_sec) == [n // 2 * 2 for n in on_screen(30, start_sec)]


def test_frames_hidden_by_an_edit_list_are_not_shown(tmp_path):
    path = write_video(tmp_path / "v.mp4", "30", 300, *H264, "-g", "50")
    ffmpeg("-ss", "2.5", "-i", path, "-c", "copy", tmp_path / "cut.mp4")
    assert numbers(open_video(tmp_path / "cut.mp4"), 1.0) == on_screen(30, 3.5)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_audio_longer_than_the_video_is_no_damage(tmp_path, name):
    path = write_video(tmp_path / "pictures.mp4", "30", 120)
    sound = ["-f", "lavfi", "-t", "9", "-i", "anoisesrc"]
    ffmpeg("-i", path, *sound, "-c:v", "copy", "-c:a", "aac", tmp_path / name)
    video = open_video(tmp_path / name)
    assert not video.is_truncated and numbers(video, 3.0) == on_screen(30, 3.0)


def test_a_sequence_over_a_hole_is_refused(tmp_path):
    hole = ["-vf", "select='lt(n,45)+gt(n,75)'", "-fps_mode", "passthrough"]
    video = open_video(write_video(tmp_path / "v.mp4", "30", 200, *H264, *hole))
    with pytest.raises(FrameError, match=r"no frames from 1.47 to 2.53 s"):
        numbers(video, 1.0)
    assert numbers(video, 3.0) == on_screen(30, 3.0)


def test_every_sequence_inside_a_long_hole_is_refused(tmp_path):
    hole = ["-vf", "select='lt(n,45)+gt(n,195)'", "-fps_mode", "passthrough"]
    video = open_video(write_video(tmp_path / "v.mp4", "30", 300, *H264, *hole))
    for start_sec in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        with pytest.raises(FrameError, match="no frames from"):
            numbers(video, start_sec)
    assert numbers(video, 7.0) == on_screen(30, 7.0)


def test_over_a_short_hole_the_last_frame_stays_on_screen(tmp_path):
    hole = ["-vf", "select='lt(n,45)+gt(n,50)'", "-fps_mode", "passthrough"]
    video = open_video(write_video(tmp_path / "v.mp4", "30", 200, *H264, *hole))
    expected = [n if n < 45 or n > 50 else 44 for n in on_screen(30, 1.0)]
    assert numbers(video, 1.0) == expected


@pytest.mark.parametrize("rate", ["4", "10"])
def test_a_slow_file_is_not_a_hole(tmp_path, rate):
    video = open_video(write_video(tmp_path / "v.mp4", rate, 40))
    assert numbers(video, 1.0) == on_screen(int(rate), 1.0)


def test_a_single_frame_gives_a_sequence_of_one_and_none_of_thirty(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", "30", 1))
    assert numbers(video, 0.0, seq_frames=1) == [0]
    with pytest.raises(FrameError, match=r"the video ends at 0.03 s"):
        numbers(video, 0.0)


def test_a_sequence_that_ends_after_the_video_is_refused(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", "30", 90))
    assert numbers(video, 2.0) == on_screen(30, 2.0)
    for fps in (30.0, None):
        with pytest.raises(FrameError, match="the video ends at 3.00 s"):
            frames_at(video, 2.1, fps=fps)


def write_sound(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))


def test_files_without_video_are_refused_with_the_reason(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "page.mp4").write_text("<html><body>Sorry</body></html>")
    write_sound(tmp_path / "sound.mp4")
    for name, what in [
        ("missing.mp4", "no such file"),
        (".", "is a folder"),
        ("text.mp4", "not a readable video"),
        ("empty.mp4", "not a readable video"),
        ("page.mp4", "not a readable video"),
        ("sound.mp4", "no video stream in it"),
    ]:
        with pytest.raises(UserError, match=what):
            open_video(tmp_path / name)


def test_a_file_with_an_index_and_no_frames_is_refused(tmp_path):
    whole = write_video(tmp_path / "v.mp4", "30", 60, *H264, "-movflags", "+faststart")
    data = whole.read_bytes()
    (tmp_path / "none.mp4").write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(UserError, match="no frame in it"):
        open_video(tmp_path / "none.mp4")


def test_a_refused_file_is_closed(tmp_path, monkeypatch):
    opened, av_open = [], av.open

    def remembering(*arguments, **options):
        opened.append(av_open(*arguments, **options))
        return opened[-1]

    write_sound(tmp_path / "sound.mp4")
    whole = write_video(tmp_path / "v.mp4", "30", 60, *H264, "-movflags", "+faststart").read_bytes()
    (tmp_path / "none.mp4").write_bytes(whole[: whole.index(b"mdat") + 4])
    write_video(tmp_path / "late.flv", "30", 60, *H264, "-output_ts_offset", "5")
    monkeypatch.setattr("av.open", remembering)
    for name, what in [
        ("sound.mp4", "no video stream in it.* convert the file"),
        ("none.mp4", "no frame in it"),
        ("late.flv", "its beginning is damaged.* download or copy it again"),
    ]:
        if name == "late.flv":  # as if FFmpeg had reported errors at the beginning
            monkeypatch.setattr(
                "media.video.open_container", lambda path: (*open_container(path)[:2], True)
            )
        with pytest.raises(UserError, match=what):
            open_video(tmp_path / name)
        with pytest.raises(AssertionError, match="Container is not open"):
            opened.pop().seek(0)


def exact_and_refused(path, whole, starts):
    """(sequences read, sequences refused); asserts that those read are exact, bit for bit."""
    exact = refused = 0
    try:
        video = open_video(path)
    except UserError:
        return 0, len(starts)
    for start_sec in starts:
        try:
            frames = read_sequence_at(video, start_sec)
        except FrameError:
            refused += 1
            continue
        np.testing.assert_array_equal(frames, whole[start_sec])
        exact += 1
    return exact, refused


STARTS = [0.5 * k for k in range(18)]


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    """{name: (path, {start_sec: frames})} of intact files of 10 s."""
    folder, files = tmp_path_factory.mktemp("whole"), {}
    for name in ("index_in_front.mp4", "stream.ts", "v.mkv", "vp9.webm", "broadcast.ts"):
        path = write_video(folder / name, "30", 300, *OTHER_ENCODINGS[name], "-g", "15")
        video = open_video(path)
        files[name] = path, {start: read_sequence_at(video, start) for start in STARTS}
    return files


NAMES = ["index_in_front.mp4", "stream.ts", "v.mkv", "vp9.webm", "broadcast.ts"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_truncated_at_60_percent_gives_exact_sequences_up_to_there(
    tmp_path, whole_files, name
):
    path, whole = whole_files[name]
    data = path.read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * 0.6)])
    exact, refused = exact_and_refused(tmp_path / name, whole, STARTS)
    assert exact >= 4 and refused >= 7
    if not name.endswith(".ts"):  # a transport stream does not tell its length
        assert open_video(tmp_path / name).is_truncated


def test_a_file_truncated_before_its_index_is_refused(tmp_path):
    data = write_video(tmp_path / "v.mp4", "30", 300).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * 0.6)])
    with pytest.raises(UserError, match="truncated before its index .*; download or copy it again"):
        open_video(tmp_path / "cut.mp4")


@pytest.mark.parametrize("name", NAMES)
def test_five_percent_of_garbage_in_one_piece_gives_exact_sequences_or_none(
    tmp_path, whole_files, name
):
    path, whole = whole_files[name]
    data, exact, refused = path.read_bytes(), 0, 0
    for seed in range(2):
        rng, size = np.random.default_rng(seed), len(data) // 20
        at = int(rng.integers(len(data) - size))
        (tmp_path / name).write_bytes(data[:at] + rng.bytes(size) + data[at + size :])
        some = exact_and_refused(tmp_path / name, whole, STARTS)
        exact, refused = exact + some[0], refused + some[1]
    assert exact > 0 and refused > 0


@pytest.mark.parametrize("name", NAMES)
def test_five_percent_of_garbage_everywhere_gives_exact_sequences_or_none(
    tmp_path, whole_files, name
):
    path, whole = whole_files[name]
    rng = np.random.default_rng(0)
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    at = rng.choice(len(data), len(data) // 20, replace=False)
    data[at] = rng.integers(256, size=len(at))
    (tmp_path / name).write_bytes(data.tobytes())
    _, refused = exact_and_refused(tmp_path / name, whole, STARTS)
    assert refused > 0


def test_damage_is_reported_on_every_read(tmp_path):
    """With several threads FFmpeg sometimes returns a damaged frame as a good one."""
    source = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=4"]
    ffmpeg(*source, *H264, "-g", "30", tmp_path / "v.mp4")
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    at = len(data) // 2
    data[at : at + 40] = np.random.default_rng(2).bytes(40)
    (tmp_path / "v.mp4").write_bytes(data)
    outcomes = set()
    for _ in range(12):
        video, outcome = open_video(tmp_path / "v.mp4"), []
        for start_sec in (0.0, 1.0, 2.0, 3.0):
            try:
                frames = read_sequence_at(video, start_sec)
                outcome.append(hash(np.stack(frames).tobytes()))
            except FrameError:
                outcome.append(None)
        outcomes.add(tuple(outcome))
    assert len(outcomes) == 1 and None in outcomes.pop()


def test_a_transport_stream_that_lost_packets_gives_exact_sequences_or_none(tmp_path, whole_files):
    path, whole = whole_files["stream.ts"]
    data = path.read_bytes()
    packets = [data[k : k + 188] for k in range(0, len(data), 188)]
    for first in range(100, len(packets) - 10, 390):
        (tmp_path / "v.ts").write_bytes(b"".join(packets[:first] + packets[first + 4 :]))
        exact, refused = exact_and_refused(tmp_path / "v.ts", whole, STARTS)
        assert exact > 0 and refused > 0


def test_a_damaged_avi_gives_no_sequence_because_it_tells_time_by_counting_frames(tmp_path):
    data = write_video(tmp_path / "v.avi", "30", 300, *OTHER_ENCODINGS["xvid.avi"]).read_bytes()
    at = len(data) // 2
    (tmp_path / "bad.avi").write_bytes(data[:at] + bytes(9000) + data[at + 9000 :])
    video = open_video(tmp_path / "bad.avi")
    for start_sec in STARTS:
        with pytest.raises(FrameError):
            read_sequence_at(video, start_sec)


def test_a_recording_that_starts_mid_stream_is_exact_after_its_first_key_frame(tmp_path):
    data = write_video(tmp_path / "v.ts", "30", 300, *H264, "-g", "30").read_bytes()
    (tmp_path / "late.ts").write_bytes(data[len(data) // 20 // 188 * 188 :])
    video = open_video(tmp_path / "late.ts")
    with pytest.raises(FrameError, match="damaged"):
        numbers(video, 0.0)
    first = numbers(video, 4.0)[0]
    assert numbers(video, 2.0) == [first - 60 + k for k in range(30)]
