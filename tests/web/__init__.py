"""The web side: a real desk and store behind a real server, with the sandbox's Slack to sign in at."""
