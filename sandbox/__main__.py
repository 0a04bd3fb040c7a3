"""`python -m sandbox`: serves until stopped; its first line on standard output says where it is, as JSON."""

import argparse
import json
from contextlib import suppress
from pathlib import Path

from sandbox.server import Sandbox


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A pretend Slack and a pretend OpenAI.")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; any free one by default")
    parser.add_argument("--data", type=Path, help="the folder that keeps the state; without it nothing is kept")
    chosen = parser.parse_args()
    sandbox = Sandbox(port=chosen.port, data=chosen.data)
    print(json.dumps(sandbox.running.as_json()), flush=True)
    sandbox.serve_here()


with suppress(KeyboardInterrupt):  # how one stops it
    main()
