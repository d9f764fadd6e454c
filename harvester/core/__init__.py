"""Value types, configuration, calendar, errors and secrets: does nothing by itself."""
