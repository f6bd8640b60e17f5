"""`order-facts run` with a defect in the rules, for one order: `python -m tests.support.defective`."""

from processor.cli import main
from processor.domain import pipeline

ORDER_ID = "defect"
TEXT = "what the event holds"


def parse(event, key, parsing):
    """Parse as the program does, but for one order."""
    if key == ORDER_ID.encode():
        raise KeyError(TEXT)
    return right(event, key, parsing)


if __name__ == "__main__":
    right = vars(pipeline)["parse"]
    vars(pipeline)["parse"] = parse
    main()
