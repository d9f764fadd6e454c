"""Each verb as a function: no terminal, no options, nothing printed."""
