"""Kafka, the one outside thing: clients and their errors, questions to the cluster, topics, records, transactions.

Takes settings and gives clients that keep the guarantee; turns each of the client's errors into the error whose class
is the action it asks for (see `processor.errors`). Never decides what becomes of an event, and never retries a batch.
"""
