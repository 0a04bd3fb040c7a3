"""What the product does. Knows no Slack, no web, no SQL, no vendor, no clock of its own."""
