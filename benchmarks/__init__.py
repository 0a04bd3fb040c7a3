"""What the desk costs, measured side by side with a peer in one run. They report, whatever they find."""
