import errno
import functools
import http.client
import inspect
import os
import re
import shutil
import socket
from types import SimpleNamespace
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
import pytubefix
import pytubefix.exceptions
from media_server import CUT_BYTES, MOST_REQUESTS, format_of, media_server, stand_in
from pytubefix.innertube import InnerTube

from collection import download_errors, downloading
from collection.downloading import choose_stream, download, look_up, playlist_videos
from conftest import write_video
from files import UserError

ID = "dQw4w9WgXc_"
ADDRESS = f"https://www.youtube.com/watch?v={ID}"
PLAYLIST = "https://www.youtube.com/playlist?list=PL0123456789"
RANGE = 2000  # bytes per request, instead of pytubefix's 9 MB
SOON_SEC = 0.3  # timeout for a server that stops sending

APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"  # YouTube uses this one, but not always
BOT = "thinks that this computer is a bot"
LOGIN = "asks for a login or a proof of age"
LIVE = "is a live stream: wait"
NETWORK = "no answer from YouTube: check the network"
OUTDATED = "no longer understands YouTube: run pip install -U pytubefix"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """The bytes of 4 s of H.264 with the index in front; they span several ranges of pytubefix."""
    codec = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "15", "-movflags", "+faststart"]
    path = write_video(tmp_path_factory.mktemp("film") / "film.mp4", "30", 120, *codec)
    assert path.stat().st_size > 3 * RANGE
    return path.read_bytes()


@pytest.fixture
def server(film):
    with media_server(film) as server:
        yield server


@pytest.fixture
def videos(tmp_path):
    return tmp_path / "videos"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """A list of the waits before retries, in seconds; no time is spent waiting."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("pytubefix.request.default_range_size", RANGE)
    return waits


@pytest.fixture
def play(monkeypatch):
    """play(*answers) sets YouTube's answer to each attempt; it returns the list of attempts."""

    def play(*answers):
        youtube = stand_in({ID: answers})
        monkeypatch.setattr(pytubefix, "YouTube", youtube)
        return youtube.made

    return play


def files_in(folder):
    return {path.name for path in folder.glob("*")} - {".lock"}


def error_of(action, *arguments):
    """(the UserError's message, its cause); asserts one line that begins with the address."""
    with pytest.raises(UserError) as caught:
        action(*arguments)
    line = str(caught.value)
    assert line.startswith(f"{ADDRESS}: ") and len(line.splitlines()) == 1
    return line, caught.value.__cause__


def test_a_video_is_downloaded_byte_for_byte(server, play, film, videos, waits):
    attempts = play(server.offer())
    assert download(ID, videos) == videos / f"{ID}.mp4"
    assert (videos / f"{ID}.mp4").read_bytes() == film
    assert files_in(videos) == {f"{ID}.mp4"}
    assert len(attempts) == 1 and waits == []


@pytest.mark.parametrize(
    "mode",
    ["403", "404", "404 late", "429", "500", "500 late", "stall", "silent", "nothing", "empty"],
)
def test_a_passing_error_is_retried_with_a_new_request_to_youtube(
    server, play, film, videos, waits, monkeypatch, capsys, mode
):
    if mode in ("stall", "silent"):
        monkeypatch.setattr(downloading, "TIMEOUT_SEC", SOON_SEC)
    attempts = play(server.offer(mode), server.offer())
    assert download(ID, videos).read_bytes() == film
    assert files_in(videos) == {f"{ID}.mp4"}
    assert len(attempts) == 2 and waits == [2]
    assert capsys.readouterr().err.count("trying again in 2 s") == 1


def test_cut_connections_are_resumed_where_they_ended(server, play, film, videos, waits):
    attempts = play(server.offer("cut"))
    assert download(ID, videos).read_bytes() == film
    assert len(attempts) == 1 and len(server.asked) > len(film) / CUT_BYTES


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("403", "refuses the download: .*HTTP Error 403"),
        ("404", r"attempt was incomplete: .*\b0 of \d+ bytes"),
        ("404 late", rf"attempt was incomplete: .*\b{RANGE} of \d+ bytes"),
        ("429", "too many requests to YouTube: .*HTTP Error 429"),
        ("429 late", "too many requests to YouTube: .*HTTP Error 429"),
        ("500", "server failed: .*HTTP Error 500"),
        ("503 late", "server failed: .*HTTP Error 503"),
        ("stall", f"{NETWORK}.*TimeoutError"),
        ("silent", f"{NETWORK}.*TimeoutError"),
        ("nothing", "attempt was incomplete"),
        ("empty", "attempt was incomplete"),
    ],
)
def test_a_failing_server_is_asked_four_times_and_leaves_no_file(
    server, play, videos, waits, monkeypatch, mode, words
):
    if mode in ("stall", "silent"):
        monkeypatch.setattr(downloading, "TIMEOUT_SEC", SOON_SEC)
    attempts = play(server.offer(mode))
    line, cause = error_of(download, ID, videos)
    assert re.search(words, line) and cause is not None
    assert len(attempts) == 4 and waits == [2, 8, 30]
    assert len(server.asked) < MOST_REQUESTS
    assert files_in(videos) == set()


PAGE = b"<!DOCTYPE html><html><body>Before you continue to YouTube</body></html>"


def cut_off(film):
    """The first 60 % of the file; it opens, and its first frames decode."""
    return film[: len(film) * 6 // 10]


@pytest.mark.parametrize(
    ("came", "announced", "words"),
    [
        (lambda film: film[:-100], len, r"received \d+ of \d+ bytes"),
        (lambda film: film + b"more", len, r"received \d+ of \d+ bytes"),
        (lambda film: PAGE, len, f"received {len(PAGE)} of \\d+ bytes"),
        (lambda film: PAGE.ljust(len(film)), len, "not a readable video"),
        (lambda film: bytes(len(film)), len, "not a readable video"),
        (lambda film: film[:-RANGE] + bytes(RANGE), len, "the file is damaged there"),
        (cut_off, lambda film: len(cut_off(film)), r"received \d s of 4 s of video"),
    ],
    ids=["short", "long", "a page", "a page as long", "zeros", "zeros at its end", "cut off"],
)
def test_an_incomplete_download_is_refused_each_time(
    server, play, film, videos, waits, came, announced, words
):
    attempts = play(server.offer(data=came(film), size=announced(film)))
    line, cause = error_of(download, ID, videos)
    assert "every download attempt was incomplete" in line and re.search(words, line)
    assert type(cause) is download_errors.Incomplete
    assert len(attempts) == 4 and waits == [2, 8, 30]
    assert files_in(videos) == set()


def test_the_file_of_a_refused_download_is_closed(server, play, film, videos, waits, monkeypatch):
    opened, real = [], downloading.open_video

    def remembering(path):
        opened.append(real(path))
        return opened[-1]

    monkeypatch.setattr(downloading, "open_video", remembering)
    play(server.offer(data=cut_off(film), size=len(cut_off(film))))
    error_of(download, ID, videos)
    assert len(opened) == 4
    for video in opened:
        with pytest.raises(AssertionError, match="Container is not open"):
            video.container.seek(0)


def test_a_web_page_of_unknown_length_is_an_error_too(server, play, film, videos):
    play(server.offer("no length", data=PAGE, size=len(film)))
    error_of(download, ID, videos)
    assert files_in(videos) == set()


@pytest.mark.parametrize(("code", "size"), [(404, 0), (410, None)])
def test_a_permanent_error_is_not_retried(server, play, videos, waits, code, size):
    attempts = play(server.offer(str(code), size=size))
    line, cause = error_of(download, ID, videos)
    assert f"HTTP Error {code}" in line and cause.code == code
    assert len(attempts) == 1 and waits == []
    assert files_in(videos) == set()


def test_an_unreachable_server_is_reported_as_a_network_problem(film, play, videos, waits):
    with media_server(film) as gone:
        attempts = play(gone.offer())
    line, _ = error_of(download, ID, videos)
    assert NETWORK in line
    assert len(attempts) == 4 and waits == [2, 8, 30]
    assert files_in(videos) == set()


def made(kind):
    """An exception of this class; each required argument is its own name as a string."""
    _, *wanted = inspect.signature(kind.__init__).parameters.values()
    return kind(
        *(p.name for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty)
    )


KINDS = [
    kind
    for kind in vars(pytubefix.exceptions).values()
    if isinstance(kind, type) and kind.__module__ == "pytubefix.exceptions"
]
REMEDIES = {  # for a class or its nearest base class in this table
    "BotDetection": BOT,
    "PoTokenRequired": BOT,
    "LoginRequired": LOGIN,
    "AgeRestrictedError": LOGIN,
    "AgeCheckRequiredError": LOGIN,
    "AgeCheckRequiredAccountError": LOGIN,
    "VideoPrivate": "the video is private: open it in a browser",
    "MembersOnly": "the video is for members only: open it in a browser",
    "VideoRemovedByUploader": "the uploader removed the video: open it in a browser",
    "VideoRemovedByYouTubeForViolatingTOS": "YouTube removed the video: open it in a browser",
    "AccountTerminated": "the account of the uploader is closed: open it in a browser",
    "VideoRegionBlocked": "not available in this country: open it in a browser",
    "VideoBlockedByCopyright": "blocked in this country: open it in a browser",
    "RecordingUnavailable": "has no recording: open it in a browser",
    "LiveStreamEnded": LIVE,
    "LiveStreamError": LIVE,
    "LiveStreamOffline": LIVE,
    "InnerTubeResponseError": NETWORK,
    "MaxRetriesExceeded": NETWORK,
    "UnknownVideoError": OUTDATED,
    "VideoUnavailable": "the video is not available (removed, private or blocked): open it",
    "PytubeFixError": OUTDATED,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("action", [download, look_up], ids=lambda action: action.__name__)
def test_every_error_of_pytubefix_is_one_line_with_its_remedy(play, videos, waits, action, kind):
    error = made(kind)
    attempts = play(error)
    line, cause = error_of(action, ID, *([videos] if action is download else []))
    assert next(REMEDIES[c.__name__] for c in kind.__mro__ if c.__name__ in REMEDIES) in line
    assert kind.__name__ in line and cause is error
    assert len(attempts) == (4 if kind.__name__ == "MaxRetriesExceeded" else 1)
    assert len(waits) == len(attempts) - 1
    assert files_in(videos) == set()


def http_error(code):
    return HTTPError("https://www.youtube.com/", code, "its reason", {}, None)


@pytest.mark.parametrize(
    ("error", "attempts", "remedy"),
    [
        (KeyError("streamingData"), 1, OUTDATED),
        (AttributeError("no attribute"), 1, OUTDATED),
        (ValueError("Expecting value"), 1, OUTDATED),
        (URLError(socket.gaierror(-2, "Name or service not known")), 4, NETWORK),
        (TimeoutError("timed out"), 4, NETWORK),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 4, NETWORK),
        (http.client.IncompleteRead(b"half", 4), 4, NETWORK),
        (http.client.RemoteDisconnected("closed without response"), 4, NETWORK),
        (OSError(errno.EHOSTUNREACH, "No route to host"), 4, NETWORK),
        (http_error(403), 4, "YouTube refuses the download: wait an hour"),
        (http_error(404), 1, "YouTube's server failed: run it again later"),
        (http_error(429), 4, "too many requests to YouTube: wait an hour"),
        (http_error(500), 4, "YouTube's server failed: run it again later"),
    ],
    ids=repr,
)
def test_every_other_error_is_one_line_with_its_remedy(
    play, videos, waits, error, attempts, remedy
):
    objects = play(error)
    line, cause = error_of(download, ID, videos)
    assert remedy in line and type(error).__name__ in line and cause is error
    assert len(objects) == attempts and waits == [2, 8, 30][: attempts - 1]
    assert files_in(videos) == set()


@pytest.mark.parametrize("apostrophe", ["'", APOSTROPHE])
def test_a_login_against_bots_gets_the_remedy_for_bots(play, videos, waits, apostrophe):
    reason = f"Sign in to confirm you{apostrophe}re not a bot"
    attempts = play(pytubefix.exceptions.LoginRequired(ID, reason))
    line, _ = error_of(download, ID, videos)
    assert BOT in line and LOGIN not in line
    assert len(attempts) == 1 and waits == []


def test_a_reason_of_many_lines_becomes_one_line(play, videos):
    play(pytubefix.exceptions.LoginRequired(ID, "Sign in\n  to see\r\n\nthis " + "long " * 99))
    line, _ = error_of(download, ID, videos)
    assert "Sign in to see this long" in line and len(line) < 600


@pytest.mark.parametrize(
    ("status", "reason", "remedy"),
    [
        ("LOGIN_REQUIRED", f"Sign in to confirm you{APOSTROPHE}re not a bot", BOT),
        ("LOGIN_REQUIRED", "Sign in to confirm you're not a bot", BOT),
        ("LOGIN_REQUIRED", "Sign in to confirm your age", LOGIN),
        ("LOGIN_REQUIRED", "Words that nobody has seen yet", LOGIN),
        ("LOGIN_REQUIRED", "Private video", "the video is private"),
        ("LOGIN_REQUIRED", "This is a private video. Please sign in", "the video is private"),
        ("LIVE_STREAM_OFFLINE", "Premieres in 3 hours", LIVE),
        ("UNPLAYABLE", "Words that nobody has seen yet", "the video is not available"),
        ("ERROR", "This video is private", "the video is private"),
        ("ERROR", "This video has been removed by the uploader", "the uploader removed the video"),
        ("ERROR", "This video is no longer available due to a copyright claim", "not available"),
        ("A_NEW_STATUS", "Words that nobody has seen yet", OUTDATED),
    ],
)
def test_each_status_that_youtube_answers_gets_its_remedy(
    monkeypatch, videos, waits, status, reason, remedy
):
    answer = {"playabilityStatus": {"status": status, "reason": reason}, "responseContext": {}}
    answer["responseContext"]["visitorData"] = "a visitor"
    monkeypatch.setattr(InnerTube, "player", lambda *_: answer)
    line, _ = error_of(download, ID, videos)
    assert remedy in line and waits == []


def test_an_answer_of_youtube_leads_to_the_video(monkeypatch, server, film, videos):
    media = {"mediaUstreamerRequestConfig": {"videoPlaybackUstreamerConfig": ""}}
    answer = {
        "responseContext": {"visitorData": "a visitor"},
        "playabilityStatus": {"status": "OK"},
        "playerConfig": {"mediaCommonConfig": media},
        "videoDetails": {"videoId": ID, "title": "A match", "lengthSeconds": "4"},
        "streamingData": {
            "formats": server.offer(),
            "adaptiveFormats": [format_of(136), format_of(243), format_of(140)],
        },
    }
    monkeypatch.setattr(InnerTube, "player", lambda *_: answer)
    assert look_up(ID) == (4.0, len(film))
    assert download(ID, videos).read_bytes() == film


def offered(*streams):
    """A YouTube object that offers these streams, given as itags or as `format_of` makes them."""
    streams = [s if isinstance(s, dict) else format_of(s) for s in streams]
    return stand_in({ID: [streams]})(ADDRESS)


@pytest.mark.parametrize(
    ("itags", "chosen"),
    [
        ([22, 18, 136, 134, 140], 18),
        ([22, 59, 136, 134, 140], 59),
        ([22, 136, 134], 22),
        ([17, 43, 137, 136, 135, 134, 133, 160, 140], 134),
        ([137, 136, 135, 133, 140], 135),
        ([137, 136, 133, 160], 136),
        ([160, 133, 137], 133),
        ([17, 43, 243, 396, 137, 251, 140, 160], 160),
    ],
    ids=str,
)
def test_the_smallest_stream_with_enough_lines_is_chosen_progressive_before_video_only(
    itags, chosen
):
    assert choose_stream(offered(*itags)).itag == chosen
    assert choose_stream(offered(*reversed(itags))).itag == chosen


def test_streams_by_sabr_and_otf_are_skipped():
    unfit = [format_of(18, is_sabr=True), format_of(134, is_otf=True)]
    assert choose_stream(offered(*unfit, 136)).itag == 136


def test_without_a_suitable_stream_the_error_lists_what_is_offered(play, videos, waits):
    unfit = [format_of(itag) for itag in (17, 43, 137, 243, 396, 140, 251)]
    attempts = play([*unfit, format_of(134, is_sabr=True), format_of(135, is_otf=True)])
    line, _ = error_of(download, ID, videos)
    assert "no suitable stream" in line and "--client" in line
    for words in [
        "3gpp 144p mp4v.20.3+mp4a.40.2",
        "webm 360p vp8.0+vorbis",
        "mp4 1080p avc1.4d401e",
        "webm 360p vp9",
        "mp4 360p av01.0.04M.08",
        "mp4 sound mp4a.40.2",
        "webm sound opus",
        "mp4 360p avc1.4d401e by SABR",
    ]:
        assert words in line
    assert len(attempts) == 1 and waits == [] and files_in(videos) == set()


def test_a_video_without_streams_is_an_error(play, videos):
    play([])
    assert "offered: none;" in error_of(download, ID, videos)[0]


def test_the_client_is_pytubefix_own_choice_unless_given(server, play, videos):
    attempts = play(server.offer())
    look_up(ID)
    download(ID, videos)
    look_up(ID, "TV")
    (videos / f"{ID}.mp4").unlink()
    download(ID, videos, "WEB")
    assert [a.client for a in attempts] == ["its own choice", "its own choice", "TV", "WEB"]


def test_an_unknown_client_is_refused_with_suggestions():
    with pytest.raises(UserError, match="--client NETSCAPE: .*WEB, ANDROID_VR, IOS or TV"):
        downloading.check_client("NETSCAPE")
    for client in ("WEB", "ANDROID_VR", "IOS", "TV"):
        downloading.check_client(client)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".mov", ".m4v"])
def test_an_existing_file_is_used_without_a_request(play, videos, suffix):
    videos.mkdir()
    there = videos / f"{ID}{suffix}"
    there.write_bytes(b"by hand")
    attempts = play(AssertionError("YouTube was asked"))
    assert download(ID, videos) == there == downloading.find_download(ID, videos)
    assert attempts == [] and there.read_bytes() == b"by hand"


@pytest.mark.parametrize("size", [10, 1_000_000, None])
def test_the_part_file_of_a_killed_download_is_replaced(server, play, film, videos, waits, size):
    videos.mkdir()
    (videos / f"{ID}.mp4.part").write_bytes(bytes(len(film) if size is None else size))
    play(server.offer())
    assert downloading.find_download(ID, videos) is None
    assert download(ID, videos).read_bytes() == film
    assert files_in(videos) == {f"{ID}.mp4"} and waits == []


def test_an_interruption_leaves_no_file(server, play, videos, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    play(server.offer())
    monkeypatch.setattr(pytubefix.Stream, "on_progress", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download(ID, videos)
    assert files_in(videos) == set()


def test_looking_up_gives_seconds_and_bytes_and_downloads_nothing(server, play, film):
    play(server.offer())
    assert look_up(ID) == (60.0, len(film))
    assert server.asked == []


def test_a_size_that_youtube_does_not_announce_is_requested_from_the_server(
    server, play, film, videos
):
    play(server.offer(size=0))
    assert look_up(ID) == (60.0, len(film))
    assert server.asked == ["HEAD"]
    assert download(ID, videos).read_bytes() == film


def test_every_request_has_a_time_limit(server, play, monkeypatch):
    monkeypatch.setattr(downloading, "TIMEOUT_SEC", SOON_SEC)
    play(server.offer("silent", size=0))
    line, cause = error_of(look_up, ID)
    assert NETWORK in line and type(cause) is TimeoutError
    assert server.asked == ["HEAD"] * 4


@pytest.mark.parametrize("answer", ["ok", "410"])
def test_global_network_settings_are_restored(server, play, videos, answer):
    play(server.offer(answer))
    socket.setdefaulttimeout(77)
    try:
        look_up(ID)
        if answer == "ok":
            download(ID, videos)
        else:
            error_of(download, ID, videos)
        assert socket.getdefaulttimeout() == 77
        assert pytubefix.request.urlopen is urlopen
    finally:
        socket.setdefaulttimeout(None)


def test_the_progress_bar_counts_all_bytes(server, play, film, videos, monkeypatch):
    bars = []

    class Bar(downloading.tqdm):
        def __init__(self, **options):
            super().__init__(**options)
            bars.append(self)

    monkeypatch.setattr(downloading, "tqdm", Bar)
    play(server.offer("404 late"), server.offer())
    download(ID, videos)
    assert [(bar.n, bar.total) for bar in bars] == [(RANGE, len(film)), (len(film), len(film))]


def test_a_progress_bar_that_is_switched_off_changes_nothing(
    server, play, film, videos, waits, monkeypatch
):
    silent = functools.partial(downloading.tqdm, disable=True)
    silent.write = downloading.tqdm.write
    monkeypatch.setattr(downloading, "tqdm", silent)
    monkeypatch.setattr("pytubefix.request.default_range_size", len(film) // 40)
    play(server.offer())
    assert download(ID, videos).read_bytes() == film
    assert len(server.asked) > 40 and waits == []


def test_without_free_space_nothing_is_downloaded(server, play, film, videos, waits, monkeypatch):
    attempts = play(server.offer())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(film) - 1))
    line, _ = error_of(download, ID, videos)
    assert "takes 0 MB, but only 0 MB are free" in line and "--data" in line
    assert server.asked == [] and len(attempts) == 1 and waits == []
    assert files_in(videos) == set()


def test_free_space_for_just_the_video_is_enough(server, play, film, videos, monkeypatch):
    play(server.offer())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(film)))
    assert download(ID, videos).read_bytes() == film


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=os.strerror)
def test_a_disk_error_is_one_line_and_is_not_retried(
    server, play, videos, waits, monkeypatch, number
):
    def full(*_):
        raise OSError(number, os.strerror(number))

    attempts = play(server.offer())
    monkeypatch.setattr(pytubefix.Stream, "on_progress", full)
    line, cause = error_of(download, ID, videos)
    assert "free some space" in line and os.strerror(number) in line
    assert cause.errno == number and len(attempts) == 1 and waits == []
    assert files_in(videos) == set()


def playlist(monkeypatch, urls):
    """Replaces pytubefix.Playlist by one with these urls, or an error; returns its calls."""
    calls = []

    class Playlist:
        def __init__(self, url, client="its own choice"):
            calls.append((url, client))

        @property
        def video_urls(self):
            if isinstance(urls, Exception):
                raise urls
            return iter(urls)

    monkeypatch.setattr(pytubefix, "Playlist", Playlist)
    return calls


def test_a_playlist_gives_the_watch_addresses_of_its_videos_in_order(monkeypatch):
    ids = ["zzzzzzzzzzz", "aaaaaaaaaaa", "mmmmmmmm-_m"]
    urls = [f"https://www.youtube.com/watch?v={ids[0]}&list=PL0", f"https://youtu.be/{ids[1]}"]
    calls = playlist(monkeypatch, [*urls, f"https://www.youtube.com/shorts/{ids[2]}"])
    expected = [f"https://www.youtube.com/watch?v={video_id}" for video_id in ids]
    assert playlist_videos(PLAYLIST) == expected == playlist_videos(PLAYLIST, "WEB")
    assert calls == [(PLAYLIST, "its own choice"), (PLAYLIST, "WEB")]


def test_an_empty_playlist_is_an_error(monkeypatch):
    playlist(monkeypatch, [])
    with pytest.raises(
        UserError, match=r"list=PL0123456789: the playlist has no videos; is it private\?"
    ):
        playlist_videos(PLAYLIST)


@pytest.mark.parametrize("address", [PLAYLIST, PLAYLIST.removeprefix("https://")])
@pytest.mark.parametrize(
    ("error", "attempts", "remedy"),
    [(KeyError("contents"), 1, OUTDATED), (URLError("no route"), 4, NETWORK)],
    ids=repr,
)
def test_an_error_of_a_playlist_is_one_line_that_names_it(
    monkeypatch, waits, address, error, attempts, remedy
):
    calls = playlist(monkeypatch, error)
    with pytest.raises(UserError) as caught:
        playlist_videos(address)
    line = str(caught.value)
    assert line.startswith(f"{address}: ") and remedy in line and len(line.splitlines()) == 1
    assert caught.value.__cause__ is error
    assert len(calls) == attempts and len(waits) == attempts - 1


def parameters(function):
    return set(inspect.signature(function).parameters)


def test_the_installed_pytubefix_accepts_our_arguments():
    assert {"url", "client", "on_progress_callback"} <= parameters(pytubefix.YouTube)
    assert {"url", "client"} <= parameters(pytubefix.Playlist)
    asked = {"output_path", "filename", "skip_existing", "timeout"}
    assert asked <= parameters(pytubefix.Stream.download)
    with pytest.raises(KeyError):
        InnerTube("NETSCAPE")


def test_the_installed_pytubefix_has_the_attributes_we_use():
    for name in ("streams", "length"):
        assert isinstance(inspect.getattr_static(pytubefix.YouTube, name), property)
    assert isinstance(inspect.getattr_static(pytubefix.Playlist, "video_urls"), property)
    stream = choose_stream(offered(format_of(18, size=123)))
    assert (stream.type, stream.subtype, stream.resolution) == ("video", "mp4", "360p")
    assert (stream.codecs, stream.video_codec) == (["avc1.42001E", "mp4a.40.2"], "avc1.42001E")
    assert (stream.is_progressive, stream.is_sabr, stream.is_otf) == (True, False, False)
    assert stream.filesize == 123


def test_each_remedy_belongs_to_an_exception_of_the_installed_pytubefix():
    assert set(download_errors.REMEDIES) <= {kind.__name__ for kind in KINDS}


def test_the_stand_in_has_the_interface_of_the_installed_youtube():
    real, acted = pytubefix.YouTube(ADDRESS), offered(18)
    assert (real.watch_url, real.video_id) == (acted.watch_url, acted.video_id)
    assert parameters(type(acted)) <= parameters(pytubefix.YouTube)
    wanted = {"stream", "monostate", "po_token", "video_playback_ustreamer_config"}
    assert parameters(pytubefix.Stream) == wanted
