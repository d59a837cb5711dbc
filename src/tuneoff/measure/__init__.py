"""What is measured beside accuracy: time, memory, environment."""
