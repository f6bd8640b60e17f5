"""The schema registry: its clients' framing, the questions to it, and the topics' values in either wire format.

`wire` is what all others use; nothing below this package knows of a registry.
"""
