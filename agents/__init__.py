"""Who thinks: the three roles, their prompts, tools and memory."""
