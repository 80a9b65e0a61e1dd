"""Chaos: a campaign whose processes are killed and whose disk fails, again and again, until it is over."""
