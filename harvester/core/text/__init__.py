"""Texts: foreign ones made safe, secrets masked."""
