"""The documentation as a site: settings and hook of MkDocs, and what is pinned for it alone."""
