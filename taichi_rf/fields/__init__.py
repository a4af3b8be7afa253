"""Fields: stacks of levels, every prefix of which can be rendered."""
