"""structlog without rich, which it imports where it can, to draw tracebacks: no log line has one.

With rich come a highlighter of source code and more, which took 45 ms of the 320 ms that `run` takes to be imported.
"""

import sys

_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment] # Python's way to say that a module cannot be imported
try:
    import structlog
    from structlog import dev, processors
finally:
    del sys.modules["rich"]
    if _rich is not None:
        sys.modules["rich"] = _rich

__all__ = ["dev", "processors", "structlog"]
