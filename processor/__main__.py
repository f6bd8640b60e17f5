"""`python -m processor` is the command `order-facts`."""

import gc

gc.disable()  # until the command is imported (`cli`): it would scan all new objects and free nothing

from processor.cli import main  # noqa: E402

main()
