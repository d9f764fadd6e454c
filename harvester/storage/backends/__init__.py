"""The places an output may be in: a folder, or an object store."""
