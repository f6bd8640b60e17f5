"""A way to a broker that hides all brokers in what the broker says of the cluster, as a fenced broker does."""

import socket
import struct
import threading
from contextlib import suppress

from deploy.local.servers import HOST

METADATA = 3
FIRST_FLEXIBLE = 9  # the version from which on lengths are of variable size


class HidingBrokers:
    """Takes connections for the broker at `port` while it `is_open`; hides the brokers while it `is_hiding`.

    The broker must advertise this address (`advertised`), so that every connection comes through.
    """

    def __init__(self):
        self.port = 0
        self.is_open, self.is_hiding = True, False
        self.still_shown = 0  # answers that show the brokers, though it is hiding
        self.hidden = 0  # answers
        self._ends = set()
        self._socket = socket.create_server((HOST, 0))
        threading.Thread(target=self._take, daemon=True).start()

    @property
    def address(self):
        """Host and port for clients."""
        return f"{HOST}:{self._socket.getsockname()[1]}"

    @property
    def advertised(self):
        """The broker's settings."""
        return {"advertised.listeners": f"BROKER://{self.address}"}

    def close(self):
        """End it, and every connection."""
        self.is_open = False
        self._socket.shutdown(socket.SHUT_RDWR)  # or the thread would take one more
        self._socket.close()
        self.drop()

    def drop(self):
        """End every connection."""
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def _take(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection((HOST, self.port)) if self.is_open else None
            except OSError:
                broker = None
            if broker is None:
                client.close()
                continue
            self._ends |= {client, broker}
            asked: dict[int, tuple[int, int]] = {}  # correlation id -> (request, version)
            threading.Thread(target=self._requests, args=(client, broker, asked), daemon=True).start()
            threading.Thread(target=self._answers, args=(broker, client, asked), daemon=True).start()

    def _requests(self, client, broker, asked):
        with suppress(OSError), client, broker:
            for frame in frames(client):
                request, version, correlation = struct.unpack_from(">hhi", frame)
                asked[correlation] = request, version
                broker.sendall(struct.pack(">i", len(frame)) + frame)

    def _answers(self, broker, client, asked):
        with suppress(OSError), client, broker:
            for frame in frames(broker):
                request, version = asked.pop(*struct.unpack_from(">i", frame))
                said = frame
                if request == METADATA and self.is_hiding:
                    assert version >= FIRST_FLEXIBLE, version
                    if self.still_shown:
                        self.still_shown -= 1
                    else:
                        said, self.hidden = without_brokers(frame), self.hidden + 1
                client.sendall(struct.pack(">i", len(said)) + said)


def frames(connection):
    """Give what comes, each without its length."""
    with connection.makefile("rb") as stream:
        while head := stream.read(4):
            yield stream.read(*struct.unpack(">i", head))


def without_brokers(frame):
    """Give an answer to a question for metadata (version 9 to 13) without its brokers."""
    start = 4 + 1 + 4  # after the correlation id, the header's tags and the time it was throttled
    count, at = number(frame, start)
    for _ in range(count - 1):
        size, at = number(frame, at + 4)  # after the broker's id: its host
        size, at = number(frame, at + size - 1 + 4)  # after its port: its rack, 0 for none
        tags, at = number(frame, at + max(0, size - 1))
        assert tags == 0
    return frame[:start] + b"\x01" + frame[at:]


def number(data, at):
    """Give an unsigned number of variable size, and where what follows it begins."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at
