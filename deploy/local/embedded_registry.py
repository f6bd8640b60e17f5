"""A real schema registry (Apicurio, with Confluent's interface) as a child process, without persistence.

It is empty after a restart. It starts only where a test or command asks for it: nothing else here needs one.
"""

from __future__ import annotations

import http.client
import json
import secrets
from contextlib import closing
from typing import TYPE_CHECKING

from deploy.local.class_archive import CLASS_ARCHIVE, READ_CLASSES, WRITE_CLASSES, link_libraries, record_classes
from deploy.local.programs import java, registry_libraries
from deploy.local.servers import HOST, EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWER_S = 5.0
INTERFACE = "/apis/ccompat/v7"
# Measured on two cores: classes from an archive halve a start, to 1.7 s of CPU.
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xmx512m", "-Djava.awt.headless=true")


class EmbeddedRegistry(EmbeddedServer):
    """One registry; read `url` only after the first start."""

    def __init__(
        self, folder: Path, *, overrides: Mapping[str, str] | None = None, abandoned: Path | None = None
    ) -> None:
        """Take a folder of its own, and Java properties that replace the ones here.

        `abandoned` is a folder to remove if this process ends without stopping the registry.
        """
        super().__init__(folder, port_count=1, abandoned=abandoned)
        self._name = secrets.token_hex(8)  # tells it from another registry on its port
        self._overrides = dict(overrides or {})

    @property
    def url(self) -> str:
        """The address for clients of Confluent's interface."""
        return f"http://{HOST}:{self._ports[0]}{INTERFACE}"

    def _prepare(self) -> list[str]:
        properties = {
            "quarkus.http.host": HOST,
            "quarkus.http.port": str(self._ports[0]),
            "quarkus.banner.enabled": "false",
            "quarkus.log.level": "WARN",
            "apicurio.app.name": self._name,
        }
        given = [f"-D{name}={value}" for name, value in (properties | self._overrides).items()]
        libraries = registry_libraries()
        classes = self._class_archive(libraries)
        link_libraries(self.folder, libraries)
        (runner,) = libraries.glob("*-runner.jar")
        return [java(), *JVM, classes, *given, "-jar", f"libraries/{runner.name}"]

    def _class_archive(self, libraries: Path) -> str:
        """Return Java's option to read the archive of classes; write the archive first if there is none."""
        if not (libraries / CLASS_ARCHIVE).exists():
            record_classes(libraries, "apicurio.lock", _recorder)
        return READ_CLASSES

    def _answers(self) -> bool:
        with closing(http.client.HTTPConnection(HOST, self._ports[0], timeout=ANSWER_S)) as connection:
            try:
                connection.request("GET", "/apis/registry/v3/system/info")
                return bool(json.loads(connection.getresponse().read())["name"] == self._name)
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
                return False


class _ClassRecorder(EmbeddedRegistry):
    """A registry that writes its loaded classes to its folder when it stops."""

    def _class_archive(self, libraries: Path) -> str:
        del libraries
        return WRITE_CLASSES


def _recorder(folder: Path, abandoned: Path) -> EmbeddedRegistry:
    return _ClassRecorder(folder, abandoned=abandoned)
