"""The emulator of WeChat for the tests of programs that use harvester."""

from harvester.api.testing import Sandbox, sandbox

__all__ = ["Sandbox", "sandbox"]
