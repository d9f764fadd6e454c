"""Programs that make a release: the check of its tag, its notes, its wheelhouse, its image."""
