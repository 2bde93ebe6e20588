"""How pages of results look: one frame, one style sheet, figures and photos inside the file."""
