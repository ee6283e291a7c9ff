"""What can go wrong in a download, what of it may pass, and what to do about the rest."""

import errno
import http.client
from urllib.error import HTTPError

BY_HAND = "fetch it with another downloader and pass the file (README: Your own data)"
BOT = (
    "YouTube takes this computer for a bot: wait an hour or use another network, "
    f"pip install -U pytubefix, or {BY_HAND}"
)
LOGIN = f"YouTube wants a login or a proof of age: {BY_HAND}"
GONE = "open it in a browser to see why, and take it off the list"
LIVE = "it is a live stream: wait until it has ended and its recording is there"
OUTDATED = f"this pytubefix no longer understands YouTube: pip install -U pytubefix, or {BY_HAND}"
LATER = f"run it again later, or {BY_HAND}"
NETWORK = "no answer from YouTube: check the network, then run it again"
REMEDIES = {  # by the names of pytubefix's exceptions, the first known one of a class's bases
    "BotDetection": BOT,
    "PoTokenRequired": BOT,
    "AgeRestrictedError": LOGIN,
    "AgeCheckRequiredError": LOGIN,
    "AgeCheckRequiredAccountError": LOGIN,
    "LoginRequired": LOGIN,
    "VideoPrivate": f"it is private: {GONE}",
    "MembersOnly": f"it is for members only: {GONE}",
    "VideoRemovedByUploader": f"it was removed by its uploader: {GONE}",
    "VideoRemovedByYouTubeForViolatingTOS": f"it was removed by YouTube: {GONE}",
    "AccountTerminated": f"its uploader's account is closed: {GONE}",
    "VideoRegionBlocked": f"it is not shown in this country: {GONE}",
    "VideoBlockedByCopyright": f"it is blocked in this country: {GONE}",
    "RecordingUnavailable": f"this live stream left no recording: {GONE}",
    "LiveStreamEnded": LIVE,
    "LiveStreamError": LIVE,
    "LiveStreamOffline": LIVE,
    "InnerTubeResponseError": NETWORK,
    "MaxRetriesExceeded": NETWORK,
    "UnknownVideoError": OUTDATED,
    "VideoUnavailable": f"it is not available (removed, private or blocked): {GONE}",
}
HTTP_REMEDIES = {
    403: f"YouTube refuses the download: wait an hour, pip install -U pytubefix, or {BY_HAND}",
    429: "YouTube wants fewer requests: wait an hour, then run it again",
}
# What a disk says that is full, protected, failing or gone; other OSErrors are the network's.
DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOENT, errno.ENOTDIR),
)


class Incomplete(Exception):
    """The download ended without an error and without all of the file."""


def may_pass(error: Exception) -> bool:
    """Whether another attempt may well succeed."""
    if isinstance(error, HTTPError):
        return error.code in (403, 429) or error.code >= 500
    if isinstance(error, OSError):  # the network's, among them URLError, but not the disk's
        return error.errno not in DISK
    return (
        isinstance(error, (Incomplete, http.client.HTTPException))
        or type(error).__name__ == "MaxRetriesExceeded"
    )


def explain(error: Exception) -> str:
    """What went wrong in a download and what to do, in one line."""
    if isinstance(error, HTTPError):
        advice = HTTP_REMEDIES.get(error.code, f"YouTube's server failed: {LATER}")
    elif isinstance(error, Incomplete):
        advice = f"the download is incomplete each time: {LATER}"
    elif isinstance(error, OSError) and error.errno in DISK:
        advice = "cannot write the download: free some space or choose another folder with --data"
    elif isinstance(error, (OSError, http.client.HTTPException)):
        advice = NETWORK
    elif "a bot" in str(error):  # pytubefix calls it a login where YouTube words it differently
        advice = BOT
    elif "private video" in str(error).lower():  # the same
        advice = REMEDIES["VideoPrivate"]
    elif getattr(error, "status", None) == "ERROR":  # unknown to pytubefix, but no riddle
        advice = REMEDIES["VideoUnavailable"]
    else:
        known = [REMEDIES[c.__name__] for c in type(error).__mro__ if c.__name__ in REMEDIES]
        advice = known[0] if known else OUTDATED
    return f"{advice} ({words(error)})"


def words(error: Exception) -> str:
    """The error's class and text in one line."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text[:200]}" if text else name
