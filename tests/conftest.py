"""What every test may use: a store on both databases, and the sandbox."""

pytest_plugins = ["tests.databases", "tests.stuck"]
