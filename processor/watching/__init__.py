"""`watch`: a live view, or a summary, of the program from its log lines alone.

Takes log lines as bytes, from files or standard input; gives a picture for a terminal. Asks no service and needs no
settings. A line of anybody else is counted, and never a reason to stop.
"""
