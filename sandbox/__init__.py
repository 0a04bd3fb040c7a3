"""A pretend Slack workspace and pretend vendors, as one real HTTP server on loopback. Knows nothing of the product."""
