"""Following objects through video: memories, policy, sessions to push frames to, runs over a source."""
