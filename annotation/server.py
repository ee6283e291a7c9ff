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
    """Says where the page is, opens it in a browser if so wanted, and answers until Ctrl-C.

    port: None for PORT, or any that is free. Returns the exit code.
    """
    remember_classes(work)
    with listen(port) as listener:
        actual_port = listener.getsockname()[1]
        if port is None and actual_port != PORT:
            print(f"port {PORT} is taken, so this is at another one", file=sys.stderr)
        address = f"http://{LOCAL}:{actual_port}/"
        print(f"{doing}: {address}\nCtrl-C ends it; what the page showed as saved is on disk")
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
            server.force_exit = True  # a paused player would hold its connection for ever,
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # and be complained of

        server.handle_exit = end
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            print("ended")
    return 0


def remember_classes(work: Labelling) -> None:
    """Keeps the names of the classes for the next time, and says so if they are others."""
    before = labels.read_class_names(work.data_dir)
    if before != work.class_names:
        labels.save_class_names(work.data_dir, work.class_names)
        print(
            f"labels 0 and 1 mean {' and '.join(work.class_names)} from now on, before: "
            f"{' and '.join(before)}",
            file=sys.stderr,
        )


def listen(port: int | None) -> socket.socket:
    """A socket on 127.0.0.1 at the port, or at PORT if it is free, or at any that is."""
    for choice in (PORT, 0) if port is None else (port,):
        # asyncio turns off Nagle's delay, 40 ms an answer, for sockets that say they are TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if sys.platform != "win32":  # there it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOCAL, choice))
            listener.listen(128)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            reason = error
    raise UserError(f"port {port}: {reason}; leave --port out to take any that is free")
