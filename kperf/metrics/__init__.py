"""Named metrics over the events of CPU cores: what they are, and which events give them."""
