"""Tables of a lakehouse, made by `harvester export`."""
