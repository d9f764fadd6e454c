"""A check of the catalogue against WeChat itself, by some twenty calls that only read."""
