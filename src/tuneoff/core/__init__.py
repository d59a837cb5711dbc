"""What every other package may lean on, and which leans on none: errors, files, quantities, processes, the Hub."""
