"""How files are written: what a file is found out to be, and a reader for each kind of file."""
