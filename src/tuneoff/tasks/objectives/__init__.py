"""What a study goes by: the metrics that tuning, comparison and recommendation can follow, one a file."""
