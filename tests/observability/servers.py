"""A real Prometheus, VictoriaLogs and vmalert, from the PATH: started on free ports, asked over HTTP."""

import json
import shutil
import signal
import time
import urllib.error
import urllib.parse
import urllib.request

from deploy.local.servers import HOST, GuardedProcess, ServicesError, free_ports
from tests.support.deployment import await_condition

PROGRAMS = ("promtool", "prometheus", "victoria-logs", "vmalert", "lnav")
NEEDS = (
    "make observability-test needs on the PATH: promtool and prometheus (Debian: prometheus), lnav (Debian: lnav), "
    "victoria-logs and vmalert (from VictoriaMetrics' releases); and Java, for Kafka"
)
SCRAPE_S = 1


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


def now_s():
    """Give the time in seconds since 1970."""
    return time.time()
