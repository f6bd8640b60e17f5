"""`order-facts run` that keeps its place in the group when it stops: for comparison, the product leaves.

A static member that closes without leaving is known to the group until its session ends. It runs inside the image.
"""

from processor.cli import main
from processor.replica import service
from processor.replica.group import Group


class Keeping(Group):
    """The group's consumer."""

    def leave(self):
        """Close, and say nothing to the group."""
        self._consumer.close()


if __name__ == "__main__":
    vars(service)["Group"] = Keeping
    main()
