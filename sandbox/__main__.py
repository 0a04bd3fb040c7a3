"""`python -m sandbox`: serves until stopped; its first line on standard output says where it is, as JSON."""

import argparse
import json
from contextlib import suppress
from pathlib import Path

from sandbox.server import SandboxServer


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="A pretend Slack and pretend vendors of keys."
    )
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; any free one by default")
    parser.add_argument("--data", type=Path, help="the folder that keeps the state; without it nothing is kept")
    chosen = parser.parse_args()
    server = SandboxServer(port=chosen.port, data=chosen.data)
    print(json.dumps(server.running.as_json()), flush=True)
    server.serve_here()


with suppress(KeyboardInterrupt):  # how one stops it
    main()
