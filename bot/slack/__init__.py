"""The Slack skin: everything inbound and outbound, and how things look. Holds no behaviour."""
