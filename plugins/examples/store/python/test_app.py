"""The plugin without WebAssembly: python -m unittest"""

import unittest

from ampoule_plugin import http, testing
from app import Fetcher, Injector

SETTINGS = {"url": "https://secrets.example.com/v1"}


class AppTest(unittest.TestCase):
    def setUp(self) -> None:
        testing.host.reset()

    def test_a_key_becomes_a_variable_from_a_promise(self) -> None:
        request = {"group": "database", "key": "pass/word"}
        answer = testing.inject(Injector, settings=SETTINGS, request=request)
        self.assertEqual(answer.edits, [("set_env_from_promise", "_FSEC_PASS/WORD", "database/pass%2Fword")])

    def test_a_group_or_key_that_is_no_segment_of_a_path_is_invalid(self) -> None:
        request = {"group": "..", "key": "password"}
        self.assertEqual(testing.inject(Injector, settings=SETTINGS, request=request).reason, "invalid")

    def test_the_value_of_a_promise_is_the_body_of_the_answer(self) -> None:
        requests = []

        def answer(method: str, url: str, headers: dict[str, str], body: bytes) -> http.Response:
            requests.append((method, url))
            return http.Response(200, {}, b"hush")

        testing.host.http = answer
        fetched = testing.fetch(Injector, Fetcher, "database/password", settings=SETTINGS)
        self.assertEqual(fetched.value, b"hush")
        self.assertEqual(requests, [("GET", "https://secrets.example.com/v1/database/password")])


if __name__ == "__main__":
    unittest.main()
