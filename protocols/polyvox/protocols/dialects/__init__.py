"""What each known server accepts: a table of facts, used by the renderers of all protocols."""
