"""Tables of an output in a lakehouse: what to copy and to swap, and a writer for each format."""
