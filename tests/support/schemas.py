"""The project's Avro schemas, and folders of them that a test may add to."""

import shutil
from pathlib import Path

SCHEMAS = Path(__file__).parents[2] / "schemas"


def copy_schemas(folder, *further):
    """Copy all schemas, and further files, into a folder."""
    for file in (*SCHEMAS.glob("*.avsc"), *further):
        shutil.copy(file, folder)
