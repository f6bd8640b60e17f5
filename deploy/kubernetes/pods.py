"""Runs the pods of the overlay `dev` as containers: as far as Docker can stand in for a kubelet.

    python -m deploy.kubernetes.pods --image order-facts:0.1.0 --kafka apache/kafka:4.1.2 --redis valkey/valkey:9

Each container gets what its manifest says: arguments, variables, user, group, rights, memory limit, read-only root,
/tmp, settings and secrets as files that only its group reads. All start at once. Each must become ready by its own
probes. While Redis is frozen, the replica must be alive and not ready. Each must end with 0 within half of its grace
time. Exit codes: 0 all that holds; 1 something does not, and is named. Needs kubectl, and root for the files' owners.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

OVERLAY: Final = Path(__file__).parent / "overlays/dev"
NETWORK: Final = "order-facts-pods"
KAFKA: Final = f"{NETWORK}-kafka"
REDIS: Final = f"{NETWORK}-redis"
PATIENCE_S: Final = 120.0
_KAFKA: Final = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:9092",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
}
_REDIS: Final = ("valkey-server", "--save", "", "--maxmemory-policy", "noeviction", "--protected-mode", "no")


def main() -> None:
    """Run the pods, and name what does not hold."""
    parser = argparse.ArgumentParser(description="Run the pods of the overlay dev as containers.")
    for name in ("image", "kafka", "redis"):
        parser.add_argument(f"--{name}", required=True, help="an image that is here")
    images = parser.parse_args()
    rendered = list(yaml.safe_load_all(_output("kubectl", "kustomize", str(OVERLAY))))
    with tempfile.TemporaryDirectory() as folder, _network() as names:
        variables = [part for name, value in _KAFKA.items() for part in ("--env", f"{name}={value}")]
        _run(names, KAFKA, "--network-alias", "kafka", *variables, images.kafka)
        _run(names, REDIS, "--network-alias", "redis", images.redis, *_REDIS)
        pods = dict(_pods(rendered))
        began_s = time.monotonic()
        for name, pod in pods.items():
            _run(names, name, *_options(name, pod, rendered, Path(folder)), images.image, *_container(pod)["args"])
        failed = [problem for problem in _problems(pods, began_s) if problem]
    for problem in failed:
        print(f"not so: {problem}")
    sys.exit(int(bool(failed)))


def _problems(pods: dict[str, Any], began_s: float) -> Iterator[str | None]:
    """Yield what does not hold, None for what does."""
    for name, pod in pods.items():
        if "readinessProbe" in _container(pod):
            yield _awaited(f"{name} is ready", partial(_probe, name, pod, "readiness"), began_s)
        else:
            yield _awaited(f"{name} has ended with 0", partial(_has_ended, name), began_s)
    (replica,) = (name for name in pods if name.endswith("-0"))
    _output("docker", "pause", REDIS)
    frozen_s = time.monotonic()
    pod = pods[replica]
    yield _awaited(f"{replica} is not ready without Redis", lambda: not _probe(replica, pod, "readiness"), frozen_s)
    yield None if _probe(replica, pod, "liveness") else f"{replica} is alive without Redis"
    _output("docker", "unpause", REDIS)
    yield _awaited(f"{replica} is ready again", lambda: _probe(replica, pod, "readiness"), time.monotonic())
    for name, pod in pods.items():
        grace_s, stopping_s = pod["terminationGracePeriodSeconds"], time.monotonic()
        _output("docker", "stop", "--time", str(grace_s), name)
        took_s = time.monotonic() - stopping_s
        restarts = _output("docker", "inspect", "--format", "{{.RestartCount}}", name).strip()
        print(f"{name}: stopped in {took_s:.1f} s, exit code {_state(name)[1]}, restarted {restarts} times before")
        yield None if _state(name)[1] == 0 and took_s < grace_s / 2 else f"{name} ends with 0, in {grace_s / 2} s"


def _pods(rendered: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield each pod that the controllers would create: its name and specification."""
    for one in rendered:
        if one["kind"] in {"StatefulSet", "Deployment", "Job"}:
            name = one["metadata"]["name"] + "-0" * (one["kind"] == "StatefulSet")
            yield name, one["spec"]["template"]["spec"]


def _container(pod: Any) -> Any:
    (container,) = pod["containers"]
    return container


def _options(name: str, pod: Any, rendered: list[Any], folder: Path) -> Iterator[str]:
    """Yield Docker's options for a pod's container."""
    container, of_pod = _container(pod), pod["securityContext"]
    context = container["securityContext"]
    if context["readOnlyRootFilesystem"]:
        yield "--read-only"
    if not context["allowPrivilegeEscalation"]:
        yield from ("--security-opt", "no-new-privileges")
    yield from (part for right in context["capabilities"]["drop"] for part in ("--cap-drop", right))
    yield from ("--user", f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}", "--group-add", str(of_pod["fsGroup"]))
    yield from ("--memory", container["resources"]["limits"]["memory"].removesuffix("i").lower())
    yield from ("--restart", "on-failure" if pod.get("restartPolicy") == "OnFailure" else "always")
    for variable in container.get("env", []):
        yield from ("--env", f"{variable['name']}={variable.get('value', name)}")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "emptyDir" in volume:
            yield from ("--tmpfs", f"{mount['mountPath']}:size={volume['emptyDir']['sizeLimit'].removesuffix('i')}")
        else:
            source = _files(volume, rendered, folder / name / mount["name"], of_pod["fsGroup"])
            yield from ("--volume", f"{source}:{mount['mountPath']}:ro")


def _files(volume: Any, rendered: list[Any], folder: Path, group: int) -> Path:
    """Write a ConfigMap's or Secret's files as a kubelet does; return their folder."""
    wanted = volume["configMap"]["name"] if "configMap" in volume else volume["secret"]["secretName"]
    kind = "ConfigMap" if "configMap" in volume else "Secret"
    (found,) = (one for one in rendered if one["kind"] == kind and one["metadata"]["name"] == wanted)
    folder.mkdir(parents=True)
    for part in (folder, folder.parent, folder.parent.parent):
        part.chmod(0o755)
    for name, value in found["data"].items():
        file = folder / name
        file.write_bytes(base64.b64decode(value) if kind == "Secret" else value.encode())
        os.chown(file, 0, group)
        file.chmod(volume.get("secret", {}).get("defaultMode", 0o644))
    return folder


def _probe(name: str, pod: Any, kind: str) -> bool:
    """Ask as a kubelet does: another status than 2xx or 3xx, or no answer in time, is a failure."""
    container = _container(pod)
    probe, ports = container[f"{kind}Probe"], {port["name"]: port["containerPort"] for port in container["ports"]}
    address = _output("docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
    url = f"http://{address.strip()}:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
    try:
        with urllib.request.urlopen(url, timeout=probe.get("timeoutSeconds", 1)):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _state(name: str) -> tuple[str, int]:
    state = json.loads(_output("docker", "inspect", "--format", "{{json .State}}", name))
    return state["Status"], state["ExitCode"]


def _has_ended(name: str) -> bool:
    return _state(name) == ("exited", 0)


def _awaited(what: str, is_so: Callable[[], bool], began_s: float) -> str | None:
    """Wait until something is so, and print how long that took; return what is not."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline_s:
            return what
        time.sleep(0.2)
    print(f"{what}: after {time.monotonic() - began_s:.1f} s")
    return None


@contextmanager
def _network() -> Iterator[list[str]]:
    """Give a list for the containers on a network; remove it with all of them."""
    _output("docker", "network", "create", NETWORK)
    names: list[str] = []
    try:
        yield names
    finally:
        if names:
            _output("docker", "rm", "--force", "--volumes", *names)
        _output("docker", "network", "rm", NETWORK)


def _run(names: list[str], name: str, *arguments: str) -> None:
    named = ("--name", name, "--hostname", name, "--network", NETWORK)
    names.append(name)
    _output("docker", "run", "--detach", *named, *arguments)


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


if __name__ == "__main__":
    main()
