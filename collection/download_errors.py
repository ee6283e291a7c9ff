"""What can go wrong in a download, which errors are worth a retry, and the remedy for each."""

import errno
import http.client
from urllib.error import HTTPError

BY_HAND = "download the video with another program and pass the file (see docs/collecting.md)"
BOT = (
    "YouTube thinks that this computer is a bot: wait an hour, use another network, "
    f"run pip install -U pytubefix, or {BY_HAND}"
)
LOGIN = f"YouTube asks for a login or a proof of age: {BY_HAND}"
GONE = "open it in a browser to see why, and remove it from your list"
LIVE = "the video is a live stream: wait until it has ended and its recording is online"
OUTDATED = (
    "this version of pytubefix no longer understands YouTube: "
    f"run pip install -U pytubefix, or {BY_HAND}"
)
LATER = f"run it again later, or {BY_HAND}"
NETWORK = "no answer from YouTube: check the network, then run it again"
REMEDIES = {  # by the name of pytubefix's exception, or of its nearest base class in this table
    "BotDetection": BOT,
    "PoTokenRequired": BOT,
    "AgeRestrictedError": LOGIN,
    "AgeCheckRequiredError": LOGIN,
    "AgeCheckRequiredAccountError": LOGIN,
    "LoginRequired": LOGIN,
    "VideoPrivate": f"the video is private: {GONE}",
    "MembersOnly": f"the video is for members only: {GONE}",
    "VideoRemovedByUploader": f"the uploader removed the video: {GONE}",
    "VideoRemovedByYouTubeForViolatingTOS": f"YouTube removed the video: {GONE}",
    "AccountTerminated": f"the account of the uploader is closed: {GONE}",
    "VideoRegionBlocked": f"the video is not available in this country: {GONE}",
    "VideoBlockedByCopyright": f"the video is blocked in this country: {GONE}",
    "RecordingUnavailable": f"this live stream has no recording: {GONE}",
    "LiveStreamEnded": LIVE,
    "LiveStreamError": LIVE,
    "LiveStreamOffline": LIVE,
    "InnerTubeResponseError": NETWORK,
    "MaxRetriesExceeded": NETWORK,
    "UnknownVideoError": OUTDATED,
    "VideoUnavailable": f"the video is not available (removed, private or blocked): {GONE}",
}
HTTP_REMEDIES = {
    403: f"YouTube refuses the download: wait an hour, run pip install -U pytubefix, or {BY_HAND}",
    429: "too many requests to YouTube: wait an hour, then run it again",
}
# Errors of a disk that is full, protected, failing or missing. Any other OSError is the network's.
DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOENT, errno.ENOTDIR),
)


class Incomplete(Exception):
    """The download ended without an error, but the file is not complete."""


def is_transient(error: Exception) -> bool:
    """Whether a retry may succeed."""
    if isinstance(error, HTTPError):
        return error.code in (403, 429) or error.code >= 500
    if isinstance(error, OSError):  # of the network, URLError included, but not of the disk
        return error.errno not in DISK
    return (
        isinstance(error, (Incomplete, http.client.HTTPException))
        or type(error).__name__ == "MaxRetriesExceeded"
    )


def explain(error: Exception) -> str:
    """One line: what went wrong in a download, and the remedy."""
    if isinstance(error, HTTPError):
        advice = HTTP_REMEDIES.get(error.code, f"YouTube's server failed: {LATER}")
    elif isinstance(error, Incomplete):
        advice = f"every download attempt was incomplete: {LATER}"
    elif isinstance(error, OSError) and error.errno in DISK:
        advice = "cannot write the download: free some space or choose another folder with --data"
    elif isinstance(error, (OSError, http.client.HTTPException)):
        advice = NETWORK
    elif "a bot" in str(error):  # pytubefix raises LoginRequired for some wordings of it
        advice = BOT
    elif "private video" in str(error).lower():  # pytubefix raises LoginRequired for it
        advice = REMEDIES["VideoPrivate"]
    elif getattr(error, "status", None) == "ERROR":  # a reason that pytubefix does not know
        advice = REMEDIES["VideoUnavailable"]
    else:
        known = [REMEDIES[c.__name__] for c in type(error).__mro__ if c.__name__ in REMEDIES]
        advice = known[0] if known else OUTDATED
    return f"{advice} ({words(error)})"


def words(error: Exception) -> str:
    """The class and text of an error, in one line; the text is cut to 200 characters."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text[:200]}" if text else name
