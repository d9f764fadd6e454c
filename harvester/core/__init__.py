"""Value types, configuration and credentials: nothing here has an effect."""
