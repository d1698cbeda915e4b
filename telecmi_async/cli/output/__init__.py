"""What a command writes: lines, and progress; and what it asks."""
