"""Where examples come from: one file a source, which holds its table of `[data]` and how it is opened."""
