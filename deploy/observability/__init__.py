"""What operators look at: dashboards, alerts, queries. `make docs` writes them from `panels.py` and `alerts.py`."""
