"""An evaluation as people read it: tables, charts, pictures, one page."""
