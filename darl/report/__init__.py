"""From the tables of a sweep to an answer, as text, as figures and as a page."""
