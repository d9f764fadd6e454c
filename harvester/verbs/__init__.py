"""One public module a verb: values in, a typed result out, nothing printed.

`harvester` itself has the public names; importing them loads nothing until one is used.
"""
