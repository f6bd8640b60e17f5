"""Everything about Kafka: clients and their errors, requests to the cluster, topics, records, transactions.

Takes settings and gives clients that keep the guarantee. Turns each client error into the error whose class is the
action it asks for (see `processor.errors`). Never decides what becomes of an event, and never retries a batch.
"""
