"""Pages that are made from the package itself: claims, formats, commands, names, words."""
