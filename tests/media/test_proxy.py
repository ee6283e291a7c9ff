import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import av
import imageio_ffmpeg
import numpy as np
import pytest

from conftest import number_in, write_video
from files import UserError
from media.proxy import has_proxy, make_proxy, offset_sec, proxy_path, why_not_playable
from media.video import frames_at, open_video, read_sequence_at

pytest_plugins = ["browser"]

H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
B_FRAMES = [*H264, "-bf", "4", "-b_strategy", "0"]
XVID = ["-c:v", "mpeg4", "-vtag", "xvid", "-bf", "2", "-g", "40", "-q:v", "3"]
HEVC = ["-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p"]
VP9 = ["-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", "-cpu-used", "8"]
VP8 = ["-c:v", "libvpx", "-cpu-used", "8"]
SLOW_THEN_FAST = "settb=1/90000,setpts='if(lt(N,50),N/25,2+(N-50)/50)/TB'"
VARIABLE = ["-vf", SLOW_THEN_FAST, "-fps_mode", "passthrough", "-enc_time_base", "1/90000", *H264]
TICK_SEC = 1 / 90000


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    subprocess.run([*command, *map(str, arguments)], check=True)


def with_sound(path, codec="aac", late_sec=0.0, begin_sec=0.0, pictures=None, count=120):
    """A numbered video with audio. The video begins late_sec after it (before it if negative).

    All timestamps are shifted by begin_sec.
    """
    made = write_video(path.with_name(f"made{path.suffix}"), "30", count, *(pictures or B_FRAMES))
    sound = ["-itsoffset", max(-late_sec, 0.0), "-f", "lavfi", "-t", count / 30, "-i", "sine"]
    inputs = ["-itsoffset", max(late_sec, 0.0), "-i", made, *sound]
    offset = ["-output_ts_offset", begin_sec]
    ffmpeg(*inputs, "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", codec, *offset, path)
    made.unlink()
    return path


def proxy_of(path):
    return make_proxy(path, lambda share: None)


def leftovers(folder, *expected):
    return sorted({p.name for p in folder.iterdir()} - {p.name for p in expected})


PLAYABLE = {
    "plain.mp4": H264,
    "b_frames.mov": B_FRAMES,
    "b_frames.m4v": B_FRAMES,
    "full_range.mp4": ["-c:v", "libx264", "-pix_fmt", "yuvj420p"],
    "interlaced.mp4": [*H264, "-flags", "+ildct+ilme", "-x264-params", "tff=1"],
    "fragments.mp4": [*H264, "-movflags", "frag_keyframe+empty_moov"],
    "vp8.webm": VP8,
    "vp9.webm": VP9,
}
UNPLAYABLE = {
    "hevc.mp4": (HEVC, "HEVC video"),
    "mpeg4.mp4": (XVID[:2], "MPEG-4 part 2 video"),
    "10_bit.mp4": ([*H264[:2], "-pix_fmt", "yuv420p10le"], "10-bit video"),
    "422.mp4": ([*H264[:2], "-pix_fmt", "yuv422p"], "4:2:2 video"),
    "10_bit.webm": ([*VP9[:2], "-pix_fmt", "yuv420p10le", "-cpu-used", "8"], "10-bit video"),
    "av1.mp4": (["-c:v", "libsvtav1", "-preset", "12"], "AV1 video"),
    "av1.webm": (["-c:v", "libsvtav1", "-preset", "12"], "AV1 video"),
    "v.mkv": (H264, "the Matroska container"),
    "vp9.mkv": (VP9, "the Matroska container"),
    "xvid.avi": (XVID, "the AVI container"),
    "v.ts": (H264, "the MPEG-TS container"),
    "v.flv": (H264, "the FLV container"),
    "named_wrongly.mp4": ([*H264, "-f", "matroska"], "the Matroska container"),
    "late.mp4": ([*H264, "-output_ts_offset", "5"], "timestamps that begin at 5.00 s"),
}


@pytest.mark.parametrize("name", PLAYABLE)
def test_files_that_every_browser_plays_need_no_proxy(tmp_path, name):
    assert why_not_playable(write_video(tmp_path / name, "30", 30, *PLAYABLE[name])) == ""


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_the_reason_why_a_browser_does_not_play_a_file_is_named(tmp_path, name):
    options, why = UNPLAYABLE[name]
    assert why_not_playable(write_video(tmp_path / name, "30", 30, *options)) == why


@pytest.mark.parametrize(
    "name, pictures, codec, why",
    [
        ("aac.mp4", H264, "aac", ""),
        ("mp3.mp4", H264, "libmp3lame", ""),
        ("opus.webm", VP8, "libopus", ""),
        ("vorbis.webm", VP8, "libvorbis", ""),
        ("ac3.mp4", H264, "ac3", "AC-3 audio"),
        ("pcm.mov", H264, "pcm_s16le", "PCM audio"),
        ("opus.mp4", H264, "libopus", "OPUS audio"),
    ],
)
def test_the_audio_codec_counts_too(tmp_path, name, pictures, codec, why):
    assert why_not_playable(with_sound(tmp_path / name, codec, pictures=pictures, count=30)) == why


def test_files_without_video_are_refused_with_the_reason(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    ffmpeg("-f", "lavfi", "-t", "1", "-i", "sine", tmp_path / "sound.mp4")
    for name, what in [
        ("missing.mp4", "no such file"),
        (".", "is a folder"),
        ("text.mp4", "not a readable video"),
        ("empty.mp4", "not a readable video"),
        ("sound.mp4", "no video stream in it"),
    ]:
        for ask in (why_not_playable, offset_sec, proxy_of):
            with pytest.raises(UserError, match=what):
                ask(tmp_path / name)


def test_files_of_one_stem_have_a_proxy_each(tmp_path):
    assert proxy_path(tmp_path / "final.mkv") == tmp_path / "final.mkv.proxy.mp4"
    assert proxy_path(tmp_path / "final.avi") != proxy_path(tmp_path / "final.mkv")


def test_a_proxy_is_out_of_date_once_its_file_changes(tmp_path):
    path = write_video(tmp_path / "v.mkv", "30", 30, *H264)
    assert not has_proxy(path)
    shares = []
    proxy = make_proxy(path, shares.append)
    assert has_proxy(path) and proxy == proxy_path(path) and why_not_playable(proxy) == ""
    assert shares == sorted(shares) and shares[-1] == 1.0 and min(shares) >= 0
    made_ns = path.stat().st_mtime_ns
    for changed_ns in (
        made_ns + 10**9,
        made_ns - 10**12,
    ):  # the file is written to, or replaced by an older one
        os.utime(path, ns=(changed_ns, changed_ns))
        assert not has_proxy(path)
        proxy_of(path)
        assert has_proxy(path)
    path.unlink()
    assert not has_proxy(path)


def test_a_file_that_changes_while_its_proxy_is_made_has_no_proxy(tmp_path):
    path = write_video(tmp_path / "v.mkv", "30", 30, *H264)
    make_proxy(path, lambda share: os.utime(path))
    assert not has_proxy(path)


@pytest.mark.parametrize(
    "size, turn, expected",
    [
        ("426x240", 0, (426, 240)),
        ("321x241", 0, (320, 240)),
        ("1280x720", 0, (854, 480)),
        ("1280x720", 90, (270, 480)),
        ("640x360", 180, (640, 360)),
    ],
)
def test_a_proxy_is_small_even_and_upright(tmp_path, size, turn, expected):
    source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=30:d=1", "-pix_fmt", "yuv444p"]
    ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", tmp_path / "made.mp4")
    turned = ["-display_rotation:v:0", turn, "-i", tmp_path / "made.mp4", "-c", "copy"]
    ffmpeg(*turned, tmp_path / "v.mp4")
    with av.open(proxy_of(tmp_path / "v.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height, frame.rotation) == (*expected, 0)
    assert frame.format.name == "yuv420p"
    original = read_sequence_at(open_video(tmp_path / "v.mp4"), 0.0, 1)[0]
    small = read_sequence_at(open_video(proxy_path(tmp_path / "v.mp4")), 0.0, 1)[0]
    assert np.abs(original.astype(int) - small).mean() < 12


@pytest.mark.parametrize("name, options", [("v.mp4", VARIABLE), ("v.mkv", H264), ("v.avi", XVID)])
def test_frames_come_on_screen_when_they_do_in_the_file(tmp_path, name, options):
    original = open_video(write_video(tmp_path / name, "25", 150, *options))
    proxy = open_video(proxy_of(original.path))
    np.testing.assert_allclose(proxy.times_sec, original.times_sec, atol=TICK_SEC)
    with av.open(
        proxy.path
    ) as container:  # display order is decoding order, so no edit list is needed
        pts = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert pts == proxy.pts.tolist() and pts[0] == 0
    keys_sec = (proxy.key_pts - proxy.pts[0]) * float(proxy.stream.time_base)
    assert np.diff(np.append(keys_sec, proxy.end_sec)).max() < 1.1


def test_a_recording_that_starts_mid_stream_keeps_its_times(tmp_path):
    """Its first frames do not decode, but time still counts from them."""
    data = write_video(tmp_path / "v.ts", "30", 150, *H264, "-g", "30").read_bytes()
    (tmp_path / "late.ts").write_bytes(data[len(data) // 20 // 188 * 188 :])
    original, proxy = open_video(tmp_path / "late.ts"), open_video(proxy_of(tmp_path / "late.ts"))
    assert len(proxy.pts) < len(original.pts) and proxy.times_sec[0] == 0
    tail = original.times_sec[len(original.pts) - len(proxy.pts) + 1 :]
    np.testing.assert_allclose(proxy.times_sec[1:], tail, atol=TICK_SEC)


@pytest.mark.parametrize("kind", ["garbage", "clock set back"])
def test_a_damaged_file_gets_a_proxy_of_its_full_length(tmp_path, kind):
    data = write_video(tmp_path / "whole.ts", "30", 150, *H264, "-g", "15").read_bytes()
    if kind == "garbage":
        at = len(data) // 2
        data = data[:at] + np.random.default_rng(0).bytes(5000) + data[at + 5000 :]
    (tmp_path / "v.ts").write_bytes(data if kind == "garbage" else data * 2)
    assert open_video(tmp_path / "v.ts").damaged.any()
    assert open_video(proxy_of(tmp_path / "v.ts")).end_sec == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("late_sec", [-40.0, -1.0, 0.0, 0.5])
@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v.ts"])
def test_audio_stays_in_sync_with_the_video(tmp_path, name, late_sec):
    """A beep keeps its time in the video, whether video or audio begins first."""
    made = write_video(tmp_path / "pictures.mp4", "30", 90, *B_FRAMES)
    at_sec = 0.8 + late_sec if late_sec >= 0 else 0.8
    beep = f"aevalsrc='if(between(t,{at_sec},{at_sec + 0.3}),sin(2000*t),0)':d=3:s=44100"
    sound = ["-itsoffset", max(-late_sec, 0), "-f", "lavfi", "-i", beep]
    inputs = ["-itsoffset", max(late_sec, 0), "-i", made, *sound]
    ffmpeg(*inputs, "-c:v", "copy", "-c:a", "ac3", tmp_path / name)
    with av.open(proxy_of(tmp_path / name)) as container:
        assert [stream.start_time for stream in container.streams] == [0, 0]
        loud_sec = [
            frame.time + np.argmax(np.abs(samples) > 0.3) / frame.sample_rate
            for frame in container.decode(audio=0)
            if (np.abs(samples := frame.to_ndarray()[0]) > 0.3).any()
        ]
    assert loud_sec[0] == pytest.approx(0.8 + max(-late_sec, 0), abs=0.03)


def test_odd_file_names_are_not_taken_for_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = write_video(tmp_path / "v.mkv", "30", 30, *H264)
    for name in ("-y.mkv", "final 100%d 'a'.mkv", "Finale März 羽毛球.mkv", "."):
        if name != ".":
            made = made.rename(name)
            assert len(open_video(proxy_of(name)).pts) == 30


def play_ffmpeg(monkeypatch, folder, script):
    """Replaces ffmpeg by a shell script; "$target" is the file to write."""
    path = folder / "ffmpeg"
    path.write_text(f'#!/bin/sh\nfor target; do :; done\ntarget="${{target#file:}}"\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(path))
    return path


FULL_DISK = """echo half > "$target"; echo "out_time_us=500000"
echo "[out#0/mp4] No space left on device" >&2; echo "progress=end"; exit 1"""


def test_a_full_disk_is_a_clear_error_and_leaves_no_partial_file(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mkv", "30", 30, *H264)
    proxy = proxy_of(path)
    whole = proxy.read_bytes()
    played = play_ffmpeg(monkeypatch, tmp_path, FULL_DISK)
    with pytest.raises(
        UserError, match=r"v.mkv: could not .*No space left on device.*; check that"
    ):
        proxy_of(path)
    assert proxy.read_bytes() == whole and leftovers(tmp_path, path, proxy, played) == []


def test_an_unwritable_proxy_is_a_clear_error(tmp_path):
    path = write_video(tmp_path / "v.mkv", "30", 30, *H264).rename(tmp_path / f"{'v' * 240}.mkv")
    with pytest.raises(UserError, match="File name too long.*; check that"):
        proxy_of(path)
    assert leftovers(tmp_path, path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_any_exception_ends_ffmpeg_and_leaves_no_partial_file(tmp_path, monkeypatch, error):
    path = write_video(tmp_path / "v.mkv", "30", 30, *H264)
    endless = f'echo $$ > {tmp_path}/pid; echo half > "$target"; echo out_time_us=1; exec sleep 60'
    played = play_ffmpeg(monkeypatch, tmp_path, endless)

    def stop(share):
        raise error

    began = time.monotonic()
    with pytest.raises(error):
        make_proxy(path, stop)
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert leftovers(tmp_path, path, played, tmp_path / "pid") == []


def test_several_threads_can_make_the_same_proxy_at_once(tmp_path):
    path = write_video(tmp_path / "v.mkv", "30", 150, *H264)
    with ThreadPoolExecutor() as pool:
        proxies = list(pool.map(proxy_of, [path] * 3))
    assert proxies == [proxy_path(path)] * 3 and has_proxy(path)
    assert len(open_video(proxies[0]).pts) == 150 and leftovers(tmp_path, path, proxies[0]) == []


class Files(SimpleHTTPRequestHandler):
    """Serves byte ranges of files; without them Chromium does not seek."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with open(self.translate_path(self.path), "rb") as file:
            data = file.read()
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"]).groups()
        part = data[int(first) : int(last or len(data) - 1) + 1]
        self.send_response(206)
        self.send_header("Content-Type", self.guess_type(self.path))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *args):
        pass


@contextmanager
def serving(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SEEK = """async ([url, times]) => {
    const video = document.createElement('video');
    video.muted = true;
    video.crossOrigin = 'anonymous';
    const canvas = document.createElement('canvas');
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    const presented = start => new Promise((resolve, reject) => {
        video.requestVideoFrameCallback((now, frame) => {
            [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
            pen.drawImage(video, 0, 0);
            const columns = [...Array(10).keys()].map(bit => (bit + 0.5) * canvas.width / 10 | 0);
            const lit = x => pen.getImageData(x, canvas.height / 2 | 0, 1, 1).data[0] > 128;
            const number = columns.reduce((sum, x, bit) => sum + (lit(x) << bit), 0);
            resolve([number, frame.mediaTime]);
        });
        video.onerror = () => reject(new Error(video.error.message));
        setTimeout(() => reject(new Error('no frame came on screen')), 10000);
        start();
    });
    const shown = [await presented(() => { video.src = url; })];
    for (const time of times)
        shown.push(await presented(() => { video.currentTime = time; }));
    return shown;
}"""


def assert_chromium_shows_the_frames_of(browser, path, played):
    """Asserts that Chromium, playing `played`, shows the right frames of path in their middle."""
    video = open_video(path)
    leave_sec = np.append(video.times_sec[1:], video.end_sec)
    count = len(video.pts)
    frames = [count // 2, 1, count - 8, count // 3, count // 2 + 1, 0]
    at_sec = ((video.times_sec + leave_sec) / 2)[frames]
    assert [int(frames_at(video, t, 1)[0]) for t in at_sec] == frames
    with av.open(path) as container:
        numbers = [number_in(f.to_ndarray(format="gray")) for f in container.decode(video=0)]
    expected = [numbers[k] for k in frames]
    offset = offset_sec(played)
    page = browser.new_page()
    try:
        with serving(played.parent) as url:
            seeks = [float(t) + offset for t in at_sec]
            (_, first_sec), *shown = page.evaluate(SEEK, [f"{url}/{quote(played.name)}", seeks])
    finally:
        page.close()
    assert first_sec == pytest.approx(offset, abs=1e-3)
    assert [number for number, _ in shown] == expected
    media_sec = [time - offset for _, time in shown]
    np.testing.assert_allclose(media_sec, video.times_sec[frames], atol=1e-3)


AS_THEY_ARE = {
    "no_edit_list.mp4": lambda path: write_video(path, "30", 120, *B_FRAMES, "-use_editlist", "0"),
    "fragments.mp4": lambda path: write_video(path, "30", 120, *B_FRAMES, "-movflags", FRAGMENTS),
    "variable.mp4": lambda path: write_video(path, "25", 150, *VARIABLE),
    "pictures_first.mp4": partial(with_sound, late_sec=-0.5),
    "sound_first.webm": partial(with_sound, codec="libopus", late_sec=0.5, pictures=VP8),
    "cut.mp4": lambda path: cut(path),
}
FRAGMENTS = "frag_keyframe+empty_moov"
AS_PROXIES = {
    "offset.mkv": lambda path: write_video(path, "30", 120, *B_FRAMES, "-output_ts_offset", "5"),
    "open_gop.ts": lambda path: write_video(path, "30", 120, *B_FRAMES, "-x264-params", OPEN_GOP),
    "variable.mkv": lambda path: write_video(path, "25", 150, *VARIABLE),
    "sound_first.mkv": partial(with_sound, codec="ac3", late_sec=0.5),
}
OPEN_GOP = "open-gop=1:keyint=30"


def cut(path):
    """A video whose edit list hides the first 1.5 s."""
    made = with_sound(path.with_name("whole.mp4"))
    ffmpeg("-ss", "1.5", "-i", made, "-c", "copy", path)
    return path


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_chromium_shows_the_frame_that_the_offset_says(tmp_path, browser, name):
    path = AS_THEY_ARE[name](tmp_path / name)
    assert why_not_playable(path) == ""
    assert_chromium_shows_the_frames_of(browser, path, played=path)


@pytest.mark.parametrize("name", AS_PROXIES)
def test_chromium_shows_the_same_frame_of_a_proxy(tmp_path, browser, name):
    path = AS_PROXIES[name](tmp_path / name)
    proxy = proxy_of(path)
    assert offset_sec(proxy) == 0
    assert_chromium_shows_the_frames_of(browser, path, played=proxy)
