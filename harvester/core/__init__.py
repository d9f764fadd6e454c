"""Value types, configuration, calendar, windows, rules, errors, secrets: does nothing by itself."""
