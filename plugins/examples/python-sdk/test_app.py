"""The plugin without WebAssembly: python -m unittest"""

import unittest

from ampoule_plugin import Delivery, testing
from app import Injector


class AppTest(unittest.TestCase):
    def test_a_key_becomes_a_variable_from_the_secret_of_its_group(self) -> None:
        request = {"group": "database", "key": "password"}
        answer = testing.inject(Injector, settings={"secretPrefix": "team-a-"}, request=request)
        expected = ("set_env_from_secret", "_FSEC_PASSWORD", "team-a-database", "password", False)
        self.assertEqual(answer.edits, [expected])

    def test_a_file_is_not_supported(self) -> None:
        request = {"group": "database", "key": "password", "deliver_as": Delivery.FILE}
        self.assertEqual(testing.inject(Injector, request=request).reason, "unsupported")


if __name__ == "__main__":
    unittest.main()
