"""`make torture SEED=n RUNS=n`: runs of the oracle one after the other, each printed with its seed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .run import run

if TYPE_CHECKING:
    from .real_engines import RealServers


def main() -> int:
    """Exit status 0 when every run holds, 1 otherwise; folders of failed runs are kept."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run; the next ones count up")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--engines", choices=("embedded", "real"), default="embedded")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each run sends and breaks")
    parser.add_argument("--faults", type=int, default=6, help="faults per run")
    args = parser.parse_args()
    failed = 0
    real = _real() if args.engines == "real" else None
    for seed in range(args.seed, args.seed + args.runs):
        folder = Path(tempfile.mkdtemp(prefix=f"heliograph-oracle-{seed}-"))
        try:
            engines = real.fresh(f"seed{seed}") if real is not None else None
            outcome = run(seed, folder / "run", args.seconds, args.faults, _tell, engines)
        except AssertionError as error:
            failed += 1
            print(f"seed {seed}: FAILED: {error}; see {folder}", flush=True)
            continue
        failed += not outcome.good
        state = "good" if outcome.good else f"FAILED, see {folder}"
        print(f"seed {seed}: {state}: {outcome.acknowledged} of {outcome.issued} acknowledged", flush=True)
        for verdict in outcome.verdicts:
            print(f"    {verdict}", flush=True)
    print(f"{args.runs - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _tell(text: str) -> None:
    print(f"  {text}", flush=True)


def _real() -> RealServers:
    from .real_engines import RealServers

    return RealServers.start()


if __name__ == "__main__":
    sys.exit(main())
