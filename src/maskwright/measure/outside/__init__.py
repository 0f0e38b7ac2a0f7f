"""What runs in environments without maskwright, by its path; nothing else is in its folder."""
