"""What this repository holds twice: in the code or the chart, and once more, written from there, for its readers."""
