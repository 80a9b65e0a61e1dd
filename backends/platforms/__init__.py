"""Where a competition lives: its data, its leaderboard, its submissions."""
