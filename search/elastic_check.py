"""What is made sure of when a role starts, and how the operator is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from search.elastic_client import Client
from search.elastic_errors import AccessRefusedError
from search.port import SearchConfigError

VERSION_LEAST: Final = (8, 12)


def check_server(client: Client, also: Callable[[], None]) -> None:
    """Is it Elasticsearch, new enough, and does it let us in; then `also`. Raises SearchConfigError, or SearchUnavailableError when
    the server is not there.
    """
    try:
        answer = client.ask("GET", "/")
        version = answer.body.get("version", {})
        number = str(version.get("number", ""))
        if version.get("distribution") == "opensearch":
            raise SearchConfigError(
                f"This is OpenSearch {number}, which is not supported: give the URL of an Elasticsearch."
            )
        if not answer.is_product:
            raise SearchConfigError("What answers there is no Elasticsearch: give the URL of one.")
        found = re.match(r"(\d+)\.(\d+)", number)
        if found is None or (int(found[1]), int(found[2])) < VERSION_LEAST:
            least = ".".join(map(str, VERSION_LEAST))
            raise SearchConfigError(f"Elasticsearch {number[:40]} is too old: {least} is the first that will do.")
        also()
    except AccessRefusedError as error:
        raise SearchConfigError(str(error)) from error
