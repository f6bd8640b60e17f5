"""`events explain`: what would become of events, by the rules that `run` keeps, without Kafka and Redis.

Takes events and contacts as records; gives the fact or the rejection of each event, and the number of the rule. Orders
are in memory, as the events before left them. Never asks a service and never writes.
"""
