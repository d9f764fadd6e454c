"""Environment of the command, set before anything is loaded that reads it."""

import os

# Set before Arrow is loaded, because its own allocator keeps tens of MiB that one event loop and
# two threads make no use of. A variable that is set stays as it is.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

# Removed before the HTTP client is loaded, because Python writes the keys of all TLS sessions to
# the file that it names, and with them tokens can be read from recorded traffic.
os.environ.pop("SSLKEYLOGFILE", None)

# Set before the manifest's models are made, because a plugin of pydantic sees all that they check,
# the secrets in it included. To look for plugins also takes longer than to read a manifest.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
