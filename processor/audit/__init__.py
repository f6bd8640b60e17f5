"""`verify`: compares what the topics and the mirror hold with what the rules say.

Takes a consistent cut of a deployment, live or idle; gives findings. Never writes, and never joins a group.
"""
