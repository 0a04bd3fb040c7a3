"""The promises of the README, tried where they could break."""
