"""The orders' state outside Kafka: the mirror in Redis, the watermark that says as of when, and what outputs say of it.

Takes a lineage and gives orders with the watermark they are as of. Redis is never the truth: what is missing, old or
damaged is found by the watermark and rebuilt from the facts. Never reads events.
"""
