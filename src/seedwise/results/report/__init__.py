"""The report of a result: one file, in HTML or Markdown."""
