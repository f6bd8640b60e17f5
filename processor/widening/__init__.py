"""`topics widen`: copies the events to a topic with more partitions, each of them once, in order.

Takes the old deployment's topics; gives new topics, and the events in the new one. Never judges an event, and changes
nothing of the old deployment.
"""
