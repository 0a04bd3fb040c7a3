"""Keydesk: the key desk in a team's Slack."""
