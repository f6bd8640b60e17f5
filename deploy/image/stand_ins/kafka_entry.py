"""Starts the broker of the stand-in image for apache/kafka: settings from the environment, storage once formatted."""

import os
import subprocess
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/tmp/kafka")  # noqa: S108 - the image's only writable place
JAVA: Final = ("java", f"-Xmx{os.environ.get('KAFKA_HEAP', '512m')}", "-cp", "/opt/kafka/libs/*")
DEFAULTS: Final = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "advertised.listeners": "PLAINTEXT://localhost:9092",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "controller.quorum.voters": "1@localhost:9093",
    "log.dirs": str(FOLDER / "data"),
}


def main() -> None:
    """Write the broker's properties, format its folder if that is new, and become the broker."""
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in os.environ.items()
        if name.startswith("KAFKA_") and name != "KAFKA_HEAP"
    }
    properties = DEFAULTS | given
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / "server.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    if not (Path(properties["log.dirs"]) / "meta.properties").exists():
        cluster = os.environ.get("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw")
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(file))
        subprocess.run((*JAVA, *tool), check=True)
    os.execvp(JAVA[0], (*JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "kafka.Kafka", str(file)))  # noqa: S606


if __name__ == "__main__":
    main()
