"""The roles that `up` runs, by name, where knowing their names must not import them."""

from typing import Final

UP_ROLES: Final = ("agent", "router-search", "router-archive", "router-tsdb", "query", "rules")
ESSENTIAL_ROLES: Final = frozenset({"agent"})
"""Those without which nothing works."""
DEMO_ROLE: Final = "demo"
