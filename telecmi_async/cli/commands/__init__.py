"""The commands: each file holds one, with its arguments, or some that belong together."""
