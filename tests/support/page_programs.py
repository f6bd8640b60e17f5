"""Runs the programs of schemas/README.md and of other pages as they stand, in the project's folder."""

import signal
import subprocess
import sys
from pathlib import Path

from deploy.local.programs import java, pom_libraries
from tests.support.deployment import PROJECT, await_condition
from tests.support.recipes import PAGE, blocks_of

POM = Path(__file__).with_name("java_clients.xml")
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
WITHIN_S = 60.0
ENDED_BY_CTRL_C = {0, 130}  # Python programs that handle it, and any Java program
NO_LOGGER = "SLF4J:"  # what Kafka's Java client says of that


def program_of(heading, language, folder, page=PAGE):
    """Write the program under a heading of a page into a file of a folder; a Java class gives it its name."""
    (text,) = [block.text for block in blocks_of(heading, page) if block.language == language]
    name = text.partition("public class ")[2].split()[0] if language == "java" else heading.replace(" ", "_").lower()
    file = folder / f"{name}.{'java' if language == 'java' else 'py'}"
    file.write_text(text, encoding="utf-8")
    return file


def command_of(program):
    """Give the command that runs a program; Java compiles it, and so must be a JDK."""
    if program.suffix == ".py":
        return [sys.executable, str(program)]
    libraries = pom_libraries(POM, "java-clients", "the Java clients")
    return [java(), *QUICK, "-cp", f"{libraries}/*", str(program)]


def run(program, environment):
    """Run a program to its end, and require that it ends well."""
    done = subprocess.run(
        command_of(program),
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def started(program, environment, deployment):
    """Start a program that goes on."""
    return deployment.begin(tuple(command_of(program)), environment, program.stem)


def lines_until(process, count):
    """Wait until a program has printed so many lines, end it by Ctrl-C, and give them; it must end well."""

    def printed():
        lines = process.log_path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not line.startswith(NO_LOGGER)]

    await_condition(lambda: len(printed()) >= count, lambda: process.tail("prints too little"))
    process.signal(signal.SIGINT)
    assert process.await_end() in ENDED_BY_CTRL_C, process.tail("did not end well")
    return printed()
