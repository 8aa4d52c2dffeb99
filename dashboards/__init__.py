"""Grafana: data sources and dashboards as data, and how they get there."""
