"""`rejected replay`: sends rejected records back to the events topic, each of them once.

Takes the rejected topic and what earlier runs replayed; gives copies on the events topic. Never judges an event.
"""
