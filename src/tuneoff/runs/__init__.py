"""One run: what it is, what its process is told, and what that process does and sends back."""
