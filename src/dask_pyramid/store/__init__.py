"""Where pyramids are kept: all writing is in this package."""
