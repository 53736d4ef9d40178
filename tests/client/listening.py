"""A server that nobody should reach."""

from __future__ import annotations

import socket
import threading


class Listener:
    """A server that counts who connects, and answers nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # The test is over.
            with connection:
                self.connections += 1

    def close(self) -> None:
        # A thread that waits in accept() keeps the socket open until it is shut down.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
