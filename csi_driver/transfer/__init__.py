"""From a source of ranges to verified files."""
