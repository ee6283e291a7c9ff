"""The labelling page's server on this machine: its port, the browser, Ctrl-C."""

import logging
import socket
import sys
import threading
import webbrowser
from types import FrameType

import uvicorn
from starlette.routing import Route

from annotation import labels
from annotation.app import Labelling, build_app
from files import UserError

PORT = 8765
LOCAL = "127.0.0.1"


def serve(work: Labelling, routes: list[Route], doing: str, port: int | None, browser: bool) -> int:
    """Prints the address of the page, opens it in a browser if wanted, and serves until Ctrl-C.

    doing is what the first line says before the address. A port of None means PORT if it is free,
    else any free one. Returns the exit code.
    """
    remember_classes(work)
    with listen(port) as listener:
        actual_port = listener.getsockname()[1]
        if port is None and actual_port != PORT:
            print(f"port {PORT} is in use; using port {actual_port}", file=sys.stderr)
        address = f"http://{LOCAL}:{actual_port}/"
        print(f"{doing}: {address}")
        print("press Ctrl-C to stop; everything the page shows as saved is on disk")
        sys.stdout.flush()
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        config = uvicorn.Config(
            build_app(work, routes),
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        ask_to_end = server.handle_exit

        def end(signal_number: int, frame: FrameType | None) -> None:
            ask_to_end(signal_number, frame)
            server.force_exit = True  # a paused player would hold its connection forever
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # hides its warning

        server.handle_exit = end
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            print("stopped")
    return 0


def remember_classes(work: Labelling) -> None:
    """Saves the names of the classes if they have changed, and prints the change."""
    before = labels.read_class_names(work.data_dir)
    if before != work.class_names:
        labels.save_class_names(work.data_dir, work.class_names)
        print(
            f"labels 0 and 1 now mean {' and '.join(work.class_names)} (before: "
            f"{' and '.join(before)})",
            file=sys.stderr,
        )


def listen(port: int | None) -> socket.socket:
    """A listening socket on 127.0.0.1; a port of None means PORT if it is free, else any free one.

    Raises UserError if the port cannot be used.
    """
    for choice in (PORT, 0) if port is None else (port,):
        # With IPPROTO_TCP, asyncio turns off Nagle's delay, which costs 40 ms per answer.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if sys.platform != "win32":  # on Windows two servers could share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOCAL, choice))
            listener.listen(128)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            reason = error
    raise UserError(f"cannot use port {port}: {reason}; leave out --port to use a free one")
