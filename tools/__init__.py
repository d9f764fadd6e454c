"""Programs of the maintainers, which no user needs: not in the wheel."""
