"""Files of preferences as people publish them, read into pairs and scored answers."""
