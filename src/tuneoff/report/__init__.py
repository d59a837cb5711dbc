"""From a plain summary to charts, a page and Markdown."""
