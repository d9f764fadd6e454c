"""The configuration: its values, the types of its fields, credentials and references."""
