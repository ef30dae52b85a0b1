"""Convert: from files as others publish them to a folder that a reader knows; the source is never written to."""
