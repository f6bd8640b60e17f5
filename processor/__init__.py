"""Order events in, segmentable order facts out, exactly once, on Kafka and Redis."""

__version__ = "0.1.0"
