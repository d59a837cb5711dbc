"""From a source to tokens: load, split, audit, tokenise."""
