"""Proves that deploy/kubernetes/ is what Kubernetes knows and agrees with the program; the check sees mistakes."""

import shutil
from itertools import chain

import click
import pytest
import yaml

from deploy.build import strimzi
from deploy.build.kubernetes import FOLDER, KUSTOMIZATION, of_documents, problems
from processor.cli import cli
from processor.cli.serving import _STOP_WITHIN_S
from processor.kafka.rights import TRANSACTIONAL_IDS, needed
from processor.monitoring.health import LIVE_WITHIN_S
from processor.settings import Settings
from processor.settings.definitions import HINTS
from processor.settings.sources import load

BASE = FOLDER / "base"
OVERLAYS = FOLDER / "overlays"
WORKLOADS = ("StatefulSet", "Deployment", "Job")
WAITS = 3  # of startup_timeout_s each, one after the other: Kafka, Redis, the schema registry
BROKEN = {
    "a misspelt field": (
        "base/replicas.yaml",
        "podManagementPolicy:",
        "podManagmentPolicy:",
        "'podManagmentPolicy' was",
    ),
    "a wrong type": ("base/replicas.yaml", "replicas: 2", "replicas: two", "spec.replicas: 'two' is not"),
    "an unknown kind": ("base/healer.yaml", "apps/v1", "apps/v2", "no kind of 'apps/v2'"),
    "a misspelt field in a patch": ("overlays/dev/small.yaml", "requests:", "request:", "'request' was unexpected"),
    "no such file": ("base/kustomization.yaml", "  - healer.yaml", "  - heeler.yaml", "heeler.yaml is not there"),
    "a file left out": ("base/kustomization.yaml", "  - healer.yaml\n", "", "healer.yaml is not named there"),
    "an unknown setting": ("overlays/dev/order-facts.toml", "http_port", "http_prot", "unknown setting http_prot"),
    "no kind": (
        "base/network.yaml",
        "kind: NetworkPolicy\nmetadata:\n  name: order-facts\n",
        "",
        "no kind of",
    ),
}


def documents(file):
    """Give the resources of a file."""
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def resources(kind, folder=BASE):
    """Give the resources of a kind in a folder."""
    found = chain.from_iterable(documents(file) for file in sorted(folder.glob("*.yaml")) if file.name != KUSTOMIZATION)
    return [one for one in found if one["kind"] == kind]


PODS = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for kind in WORKLOADS for one in resources(kind)}
SERVING = {name: pod for name, pod in PODS.items() if "livenessProbe" in pod["containers"][0]}


def test_nothing_is_wrong():
    """Every file, by itself, is what Kubernetes knows, and is named where it is used."""
    assert list(problems(FOLDER)) == []


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_named(change, tmp_path):
    """One mistake, one line with its place."""
    name, was, becomes, line = change
    folder = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, folder)
    text = (folder / name).read_text(encoding="utf-8")
    assert was in text
    (folder / name).write_text(text.replace(was, becomes), encoding="utf-8")
    found = list(problems(folder))
    assert [problem for problem in found if line in problem], found


def test_a_whole_object_needs_what_a_patch_does_not():
    """A container without a name is refused where it is no patch."""
    pod = {"spec": {"containers": [{"image": "order-facts"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": pod}
    whole = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}
    assert list(of_documents([whole], is_patch=True)) == []
    assert list(of_documents([whole], is_patch=False)) == [
        "Deployment x: spec.template.spec.containers.0: 'name' is a required property"
    ]


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_restricted(name):
    """No root, no rights, no token, nothing to write on but /tmp, no variables of Services, the error kept."""
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["serviceAccountName"] == "order-facts"
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert set(container["resources"]["limits"]) == {"memory"}
    written = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert written == ["/tmp"]
    assert pod["terminationGracePeriodSeconds"] > 2 * _STOP_WITHIN_S


@pytest.mark.parametrize("name", PODS)
def test_every_pod_runs_a_command(name):
    """The arguments are those of a command, and the variables are settings, or files that hold one."""
    (container,) = PODS[name]["containers"]
    command: click.Command | None = cli
    arguments = container["args"]
    while isinstance(command, click.Group):
        command, arguments = command.get_command(click.Context(command), arguments[0]), arguments[1:]
    assert command is not None
    values, rest, _ = command.make_parser(click.Context(command)).parse_args(list(arguments))
    assert (values["config"], rest) == ("/etc/order-facts/order-facts.toml", [])
    for variable in container.get("env", []):
        setting = variable["name"].removeprefix("ORDER_FACTS_").lower().removesuffix("_file")
        assert setting in HINTS


def test_only_replicas_are_many():
    """A replica has its pod's name; the others are single, and the old one ends before the new one starts."""
    (replicas,) = resources("StatefulSet")
    assert replicas["spec"]["podManagementPolicy"] == "Parallel"
    (name,) = [one for one in PODS["order-facts"]["containers"][0]["env"] if one["name"] == "ORDER_FACTS_INSTANCE_ID"]
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    for single in resources("Deployment"):
        assert (single["spec"]["replicas"], single["spec"]["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("name", SERVING)
def test_probes_leave_a_waiting_pod_alone(name):
    """The start takes as long as the program waits by itself, and the loop may stand as long as it may rightly."""
    (container,) = SERVING[name]["containers"]
    start, live, ready = (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))
    assert [probe["httpGet"]["path"] for probe in (start, live, ready)] == ["/livez", "/livez", "/readyz"]
    assert {probe["httpGet"]["port"] for probe in (start, live, ready)} == {container["ports"][0]["name"]} == {"http"}
    assert live["periodSeconds"] * live["failureThreshold"] >= LIVE_WITHIN_S / 2
    for file in FOLDER.rglob("order-facts.toml"):
        settings = load({}, file, {})
        assert settings.http_port == container["ports"][0]["containerPort"]
        assert start["periodSeconds"] * start["failureThreshold"] > WAITS * settings.startup_timeout_s


def test_what_serves_is_asked():
    """Exactly what serves health has probes; Prometheus asks the same."""
    assert set(SERVING) == {"order-facts", "order-facts-contact-index", "order-facts-healer"}
    (monitor,) = resources("PodMonitor", OVERLAYS / "production")
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    components = {
        one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for kind in WORKLOADS
        for one in resources(kind)
        if one["metadata"]["name"] in SERVING
    }
    assert set(expression["values"]) == components


def test_strimzi_has_what_the_code_says():
    """The files are those that `make docs` writes, and each user's entries are the rights of its command."""
    assert {file: file.read_text(encoding="utf-8") for file in strimzi.files()} == strimzi.files()
    users = {one["metadata"]["name"]: one["spec"] for one in resources("KafkaUser", strimzi.FOLDER)}
    rights = needed(Settings())
    for user, command in strimzi.USERS.items():
        entries = users[user]["authorization"]["acls"]
        found = {
            (entry["resource"]["type"], entry["resource"]["patternType"], entry["resource"]["name"], operation)
            for entry in entries
            for operation in entry["operations"]
        }
        assert found == {
            ("transactionalId", "prefix", right.name, right.operation)
            if right.kind == TRANSACTIONAL_IDS
            else (right.kind, "literal", right.name, right.operation)
            for right in rights[command]
        }
    mounted = documents(strimzi.FOLDER / "users-of-pods.yaml")
    secrets = [one["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"] for one in mounted]
    assert sorted(secrets) == sorted(strimzi.USERS)


def test_keda_asks_for_the_right_lag():
    """The group, the topic and the most replicas are those of the settings."""
    (scaled,) = resources("ScaledObject", OVERLAYS / "keda")
    settings = load({}, OVERLAYS / "production" / "order-facts.toml", {})
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["consumerGroup"] == settings.group_id
    assert trigger["metadata"]["topic"] == settings.events_topic
    assert trigger["metadata"]["bootstrapServers"] == settings.bootstrap_servers
    assert scaled["spec"]["maxReplicaCount"] == settings.partitions == strimzi.PARTITIONS
