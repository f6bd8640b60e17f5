"""A real Prometheus, VictoriaLogs and vmalert, from the PATH: started on free ports, asked over HTTP."""

import json
import shutil
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime

from deploy.local.servers import HOST, GuardedProcess, ServicesError, free_ports
from processor.logs import SERVICE
from tests.support.deployment import await_condition

PROGRAMS = ("promtool", "prometheus", "victoria-logs", "vmalert", "lnav")
NEEDS = (
    "make observability-test needs on the PATH: promtool and prometheus (Debian: prometheus), lnav (Debian: lnav), "
    "victoria-logs and vmalert (from VictoriaMetrics' releases), with LOKI=1 also loki; and Java, for Kafka"
)
SCRAPE_S = 1
LOKI_LABEL = "service_name"


def require_programs(programs=PROGRAMS):
    """Raise ServicesError, in one line, if a program is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise ServicesError(f"missing: {', '.join(missing)}. {NEEDS}")


def get(url, parameters=None, headers=None):
    """Give the answer's text; parameters are posted."""
    body = urllib.parse.urlencode(parameters).encode() if parameters else None
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{parameters or url}: {error.code} {error.read().decode()[:500]}") from error


class Answering:
    """A server program that answers at a path once it has started."""

    def __init__(self, folder, name, command, path="/metrics"):
        (self.port,) = free_ports(1)
        self.url = f"http://{HOST}:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"{name}.out"
        self._process = GuardedProcess(command(self.port), folder, log)
        await_condition(lambda: self._answers(path), f"{name} answers: {log.read_text()[-500:]}")

    def _answers(self, path):
        try:
            get(self.url + path)
        except (OSError, AssertionError):
            return False
        return True

    def end(self):
        """End it; its data is of no use."""
        self._process.send(signal.SIGKILL)
        assert self._process.wait(10)


class Prometheus(Answering):
    """Scrapes the targets that `target` adds, every second, and evaluates the rules."""

    def __init__(self, folder, rules):
        self._targets = folder / "targets.json"
        folder.mkdir(parents=True)
        self._ports = {}
        self._write()
        scrape = {
            "job_name": "order-facts",
            "file_sd_configs": [{"files": [str(self._targets)], "refresh_interval": "1s"}],
        }
        every = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "5s"}
        config = {"global": every, "rule_files": [str(rules)], "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        super().__init__(folder, "prometheus", lambda port: self._command(folder, port), "/-/ready")

    @staticmethod
    def _command(folder, port):
        return (
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={HOST}:{port}",
            "--log.level=warn",
        )

    def target(self, name):
        """Give the port of a process by its name, and scrape it from now on."""
        if name not in self._ports:
            (self._ports[name],) = free_ports(1)
            self._write()
        return self._ports[name]

    def _write(self):
        targets = [{"targets": [f"{HOST}:{port}"], "labels": {"instance": name}} for name, port in self._ports.items()]
        self._targets.write_text(json.dumps(targets))

    def samples(self, expression, begin, end):
        """Give how many samples an expression has in a span, NaN aside."""
        asked = {"query": expression, "start": begin, "end": end, "step": 5}
        found = json.loads(get(f"{self.url}/api/v1/query_range", asked))["data"]["result"]
        return sum(value != "NaN" for series in found for _, value in series["values"])

    def names(self):
        """Give the names of all metrics that were scraped."""
        return set(json.loads(get(f"{self.url}/api/v1/label/__name__/values"))["data"])

    def firing(self):
        """Give the names of the alerts that fire now."""
        alerts = json.loads(get(f"{self.url}/api/v1/alerts"))["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def fired(self, begin, end):
        """Give the alerts that fired, each with the seconds from `begin` to its first sample."""
        asked = {"query": 'ALERTS{alertstate="firing"}', "start": begin, "end": end, "step": 1}
        found = json.loads(get(f"{self.url}/api/v1/query_range", asked))["data"]["result"]
        return {series["metric"]["alertname"]: round(series["values"][0][0] - begin) for series in found}


class VictoriaLogs(Answering):
    """Takes log lines, each tenant's apart from the others', and answers LogsQL."""

    def __init__(self, folder):
        super().__init__(folder, "victoria-logs", lambda port: self._command(folder, port), "/health")

    @staticmethod
    def _command(folder, port):
        return (
            "victoria-logs",
            f"-storageDataPath={folder}/data",
            f"-httpListenAddr={HOST}:{port}",
            "-retentionPeriod=2d",
        )

    def add(self, lines, tenant=0):
        """Take log lines as the README says, and wait until they can be found."""
        asked = "_stream_fields=service,instance&_time_field=timestamp&_msg_field=message"
        body = "\n".join(json.dumps(line) for line in lines).encode()
        url = f"{self.url}/insert/jsonline?{asked}"
        headers = {"AccountID": str(tenant), "Content-Type": "application/stream+json"}
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=120).close()
        get(f"{self.url}/internal/force_flush")
        await_condition(lambda: self.rows("* | stats count() as lines", tenant)[0]["lines"] != "0", "lines are found")

    def rows(self, query, tenant=0):
        """Give the rows of a query over all time."""
        text = get(f"{self.url}/select/logsql/query", {"query": query}, {"AccountID": str(tenant)})
        return [json.loads(row) for row in text.splitlines()]

    def judged(self, query, moment, tenant=0):
        """Give what a rule's expression finds at a moment, as vmalert asks: of the last minute, if it says no time."""
        asked = {"query": query, "time": moment}
        if "_time:" not in query:
            asked |= {"start": moment - 60, "end": moment}
        answer = get(f"{self.url}/select/logsql/stats_query", asked, {"AccountID": str(tenant)})
        return json.loads(answer)["data"]["result"]


class Loki(Answering):
    """Takes log lines as one stream, and answers LogQL."""

    def __init__(self, folder):
        super().__init__(folder, "loki", lambda port: self._command(folder, port), "/ready")

    @staticmethod
    def _command(folder, port):
        (grpc_port,) = free_ports(1)
        served = {"http_listen_address": HOST, "http_listen_port": port}
        served |= {"grpc_listen_address": HOST, "grpc_listen_port": grpc_port, "log_level": "warn"}
        store = {"filesystem": {"chunks_directory": f"{folder}/chunks", "rules_directory": f"{folder}/rules"}}
        common = {"instance_addr": HOST, "path_prefix": str(folder), "replication_factor": 1, "storage": store}
        index = {"from": "2024-01-01", "store": "tsdb", "object_store": "filesystem", "schema": "v13"}
        limits = {
            "ingestion_rate_mb": 100,
            "ingestion_burst_size_mb": 100,
            "per_stream_rate_limit": "100MB",
            "per_stream_rate_limit_burst": "100MB",
            "reject_old_samples": False,
        }
        config = {
            "auth_enabled": False,
            "server": served,
            "common": common | {"ring": {"kvstore": {"store": "inmemory"}}},
            "schema_config": {"configs": [index | {"index": {"prefix": "index_", "period": "24h"}}]},
            "limits_config": limits,
            "analytics": {"reporting_enabled": False},
        }
        (folder / "loki.yaml").write_text(json.dumps(config))  # JSON is YAML
        return ("loki", f"-config.file={folder}/loki.yaml")

    def add(self, lines):
        """Take log lines, a thousand at once: a request may have 4 MiB."""
        for begin in range(0, len(lines), 1_000):
            values = [[str(moment_ns(line)), json.dumps(line)] for line in lines[begin : begin + 1_000]]
            body = json.dumps({"streams": [{"stream": {LOKI_LABEL: SERVICE}, "values": values}]}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{self.url}/loki/api/v1/push", body, headers)
            urllib.request.urlopen(request, timeout=120).close()

    def values(self, query, begin_ns, end_ns, step_s):
        """Give the values of a query of numbers, by step, or the lines of another one."""
        asked = {"query": query, "start": begin_ns, "end": end_ns, "step": step_s, "limit": 5_000}
        found = json.loads(get(f"{self.url}/loki/api/v1/query_range?{urllib.parse.urlencode(asked)}"))["data"]["result"]
        return [value for series in found for _, value in series["values"]]


class Vmalert(Answering):
    """Evaluates the rules of the log lines against a VictoriaLogs."""

    def __init__(self, folder, rules, logs):
        super().__init__(folder, "vmalert", lambda port: self._command(rules, logs, port), "/health")

    @staticmethod
    def _command(rules, logs, port):
        source = (f"-rule={rules}", f"-datasource.url={logs.url}", "-notifier.blackhole", "-evaluationInterval=5s")
        return ("vmalert", *source, f"-httpListenAddr={HOST}:{port}", "-rule.defaultRuleType=vlogs")

    def rules(self):
        """Give each rule's state, by its name."""
        groups = json.loads(get(f"{self.url}/api/v1/rules"))["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


def moment_ns(line):
    """Give a line's time in nanoseconds since 1970."""
    return round(datetime.fromisoformat(line["timestamp"]).timestamp() * 1_000_000) * 1_000


def now_s():
    """Give the time in seconds since 1970."""
    return time.time()
