"""What a label is, and how well it is predicted."""
