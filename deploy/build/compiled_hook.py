"""Hatchling's hook that adds the compiled hot modules to a wheel; pyproject.toml leaves it out of any other build.

HATCH_BUILD_HOOK_ENABLE_CUSTOM=true switches it on. The wheel keeps every Python module too: Python prefers the
compiled form where it fits, and tracebacks show the source. Needs the lock's packages, since the compiler reads their
types, and a C compiler.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

from deploy.build.compiled import compiled


class CompiledHook(BuildHookInterface):  # type: ignore[type-arg] # its configuration has no type of its own
    """Adds the machine code, and names the platform that it runs on."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add what that gives. Raises ServicesError as `compiled` does."""
        del version
        folder = compiled()
        for file in machine_code(folder):
            build_data["force_include"][str(file)] = str(file.relative_to(folder))
        build_data["pure_python"] = False
        build_data["tag"] = platform_tag()


def platform_tag() -> str:
    """Return the narrowest tag of this platform: this Python and, on Linux, a libc not older than this one.

    `linux_x86_64` and the like do not name the libc that the machine code was linked with.
    """
    tags = [str(tag) for tag in sys_tags()]
    return next((tag for tag in tags if "manylinux_" in tag or "musllinux_" in tag), tags[0])


def machine_code(folder: Path) -> list[Path]:
    """Return the compiled modules of a folder of `make compile`."""
    return sorted(folder.rglob("*.so"))
