"""What operators see of any process that runs until a signal: its health, its metrics, what it waits for, its memory.

Takes what a process tells of itself; gives it over HTTP. Knows no Kafka, no Redis and no rule, and decides nothing.
"""
