"""The emulator of WeChat for the tests of programs that use harvester."""

from harvester.readers.testing import Sandbox, sandbox

__all__ = ["Sandbox", "sandbox"]
