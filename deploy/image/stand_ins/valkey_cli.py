#!/usr/bin/python3
"""Answers `valkey-cli ping` in the stand-in image for valkey/valkey: that is all that a health check asks."""

import socket
import sys

if sys.argv[1:] != ["ping"]:
    sys.exit("this stand-in only knows: valkey-cli ping")
with socket.create_connection(("127.0.0.1", 6379), timeout=2) as connection:
    connection.sendall(b"PING\r\n")
    answer = connection.recv(64)
print(answer.decode().strip().removeprefix("+"))
sys.exit(answer != b"+PONG\r\n")
