"""Errors of provisioning Grafana; each text is one sentence for the user.

GrafanaError
├── GrafanaAwayError     it is not there, or what answers is no Grafana
└── GrafanaRefusedError  it does not accept the credentials
"""


class GrafanaError(Exception):
    """Grafana did not do what was asked."""


class GrafanaAwayError(GrafanaError):
    """Nothing at this address answers as Grafana."""


class GrafanaRefusedError(GrafanaError):
    """The token or the user is refused."""
