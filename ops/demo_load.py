"""Visitors of the demo's shop: who asks for what, and when, from a seed alone."""

from __future__ import annotations

import http.client
import json
import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

PRODUCTS: Final = ("lamp", "mirror", "lens", "shutter", "tripod")
VISITS_PER_S: Final = 6.0
_WAVE_VISITS: Final = 600
_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One request."""

    method: str
    path: str
    body: str
    """JSON; empty for none."""
    pause_s: float
    """After the visit before."""


def visits(seed: int) -> Iterator[Visit]:
    """Endless; pauses are a Poisson process whose rate swells and ebbs."""
    random_of = random.Random(seed)
    number = 0
    while True:
        rate = VISITS_PER_S * (1.0 + 0.6 * math.sin(2 * math.pi * number / _WAVE_VISITS))
        pause_s = random_of.expovariate(rate)
        product = random_of.choice(PRODUCTS)
        kind = random_of.random()
        if kind < 0.60:
            yield Visit("GET", f"/products/{product}", "", pause_s)
        elif kind < 0.70:
            yield Visit("GET", "/products", "", pause_s)
        elif kind < 0.72:
            yield Visit("GET", "/products/sundial", "", pause_s)
        else:
            order = {"product": product, "quantity": random_of.randint(1, 5), "card": random_of.randint(0, 99)}
            yield Visit("POST", "/checkout", json.dumps(order), pause_s)
        number += 1


def drive(host: str, port: int, plan: Iterator[Visit], stop: threading.Event, beat: Callable[[], None]) -> int:
    """Make the visits, one after the other, until `stop`; how many were answered."""
    answered = 0
    for visit in plan:
        beat()
        if stop.wait(visit.pause_s):
            break
        answered += _make(host, port, visit)
    return answered


def _make(host: str, port: int, visit: Visit) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request(visit.method, visit.path, visit.body or None, {"Content-Type": "application/json"})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
