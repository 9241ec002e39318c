"""The report of an evaluation: tables, charts, images, one HTML page."""
