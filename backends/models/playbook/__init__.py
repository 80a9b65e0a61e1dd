"""The playbook: an offline strategist that plays all three roles without a key or a network."""
