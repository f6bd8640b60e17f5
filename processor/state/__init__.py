"""The orders' state: the mirror in Redis, the watermark that says as of when, and what the outputs say of the past.

Takes a lineage; gives orders with the watermark they are as of. Redis is never the truth: the watermark shows what is
missing, old or damaged, and that is rebuilt from the facts. Never decides what an event does.
"""
