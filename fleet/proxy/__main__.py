"""`python -m fleet.proxy`: the proxy of one fleet, as `fleet run` starts it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.proxy.build import Tape
from fleet.proxy.service import Options, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="fleet.proxy", description="The proxy of a fleet.")
    parser.add_argument("--top", type=Path, required=True, help="the checkout to work for")
    parser.add_argument("--record", type=Path, help="keep every exchange in this folder")
    parser.add_argument("--replay", type=Path, help="answer from this folder, offline")
    options = parser.parse_args()
    try:
        return run(
            options.top,
            os.environ,
            Options(tape=Tape(record=options.record, replay=options.replay)),
        )
    except FleetError as error:
        logging.getLogger(__name__).error("%s", error)
        sys.stderr.write(f"fleet proxy: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
