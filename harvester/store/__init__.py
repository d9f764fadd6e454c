"""The output tree on disk: data files, raw groups, locks, quarantine."""
