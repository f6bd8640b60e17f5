"""`python -m processor` is the command `order-facts`."""

from processor.cli import main

main()
