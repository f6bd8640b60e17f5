"""Asks what a program answers on its `http_port`."""

import urllib.error
import urllib.request


def ask(port, path):
    """Give the status and text of an answer; (0, "") where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()
    except OSError:
        return 0, ""
