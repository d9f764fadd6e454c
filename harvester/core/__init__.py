"""Value types, configuration, calendar, windows, errors and secrets: does nothing by itself."""
