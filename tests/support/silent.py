"""A service that takes connections and never answers: what a frozen one is to its clients."""

import socket
import threading

from deploy.local.servers import HOST


class SilentServer:
    """Counts the connections that it took; `greeting` is all that each is sent."""

    def __init__(self, greeting=b""):
        self._greeting = greeting
        self._socket = socket.create_server((HOST, 0))
        self._taken = []
        self._taking = threading.Thread(target=self._take, daemon=True)
        self._taking.start()

    @property
    def address(self):
        """Host and port."""
        return f"{HOST}:{self._socket.getsockname()[1]}"

    @property
    def connections(self):
        """How many connections came."""
        return len(self._taken)

    def close(self):
        """End it, and every connection."""
        self._socket.shutdown(socket.SHUT_RDWR)  # or the thread would take one more
        self._taking.join()
        self._socket.close()
        for taken in self._taken:
            taken.close()

    def _take(self):
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            self._taken.append(taken)
            if self._greeting:
                taken.sendall(self._greeting)
