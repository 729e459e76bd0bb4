"""The SDK with the fake host, without WebAssembly."""

import json
import unittest
from typing import Any

import ampoule_plugin as sdk
from ampoule_plugin import cache, http, kubernetes_secrets, testing
from ampoule_plugin.testing import Answer, Err, Fetched, host


def exported(**members: Any) -> tuple[type, type, type]:
    """The exports of a plugin with these members."""
    return sdk.export(type("Example", (sdk.Plugin,), {"name": "example", "version": "1.0.0"} | members))


def raising(error: Exception) -> Any:
    def method(*_: Any) -> None:
        raise error

    return method


class PluginTest(unittest.TestCase):
    def setUp(self) -> None:
        host.reset()

    def test_a_description_contains_the_members_of_the_class(self) -> None:
        injector, _, _ = exported(deliveries=["env-var"], serves_all=True, settings_schema={"type": "object"})
        described = json.loads(injector().describe())
        self.assertEqual(
            described,
            {
                "name": "example",
                "version": "1.0.0",
                "deliveries": ["env-var"],
                "servesAll": True,
                "settingsSchema": {"type": "object"},
            },
        )

    def test_what_configure_keeps_reaches_inject_and_fetch(self) -> None:
        injector, fetcher, _ = exported(
            configure=lambda self, settings: setattr(self, "prefix", settings["prefix"]),
            inject=lambda self, request, pod: request.set_env("A", self.prefix),
            fetch=lambda self, promise: self.prefix + promise,
        )
        settings = {"prefix": "p-"}
        self.assertEqual(testing.inject(injector, settings=settings).edits, [("set_env", "A", "p-")])
        self.assertEqual(testing.fetch(injector, fetcher, "x", settings=settings).value, b"p-x")

    def test_an_exception_in_configure_is_a_text(self) -> None:
        injector, _, _ = exported(configure=raising(ValueError("url: must be set")))
        with self.assertRaises(Err) as caught:
            injector().configure("{}")
        self.assertEqual(caught.exception.value, "url: must be set")

    def test_every_edit_reaches_the_host_with_its_defaults(self) -> None:
        def inject(self: sdk.Plugin, request: sdk.Request, pod: sdk.Pod) -> None:
            request.set_env("DISCARDED", "")
            request.discard_edits()
            request.set_env("A", "a")
            request.set_env_from_secret("B", secret="s", key="k")
            request.set_env_from_promise("C", "p")
            volume = sdk.Volume.secret("s")
            volume.item("k", "path")
            request.add_volume("v", volume)
            request.mount("v", "/v")
            request.mount("v", "/w", read_only=False, sub_path="x")
            request.add_init_container(sdk.InitContainer("pull", "image"))
            request.set_annotation("a", "b")
            request.add_image_pull_secret("registry")
            request.warn("old key")

        answer = testing.inject(exported(inject=inject)[0])
        self.assertEqual(answer.warnings, ["old key"])
        self.assertEqual(
            [tuple(getattr(word, "calls", word) for word in edit) for edit in answer.edits],
            [
                ("set_env", "A", "a"),
                ("set_env_from_secret", "B", "s", "k", False),
                ("set_env_from_promise", "C", "p"),
                ("add_volume", "v", [("secret", "s"), ("item", "k", "path")]),
                ("mount", "v", "/v", True, None),
                ("mount", "v", "/w", False, "x"),
                ("add_init_container", [("init_container", "pull", "image")]),
                ("set_annotation", "a", "b", False),
                ("add_image_pull_secret", "registry"),
            ],
        )

    def test_the_request_the_pod_and_the_conventions_are_readable(self) -> None:
        seen: list[Any] = []

        def inject(self: sdk.Plugin, request: sdk.Request, pod: sdk.Pod) -> None:
            seen.extend([request.group, request.group_version, request.key, request.deliver_as, request.env_var])
            seen.extend([request.all_keys, request.options])
            seen.extend([pod.namespace, pod.name, pod.service_account, pod.operating_system, pod.labels])
            seen.extend([pod.annotations, pod.containers, pod.init_containers])
            seen.extend([pod.label("l"), pod.annotation("a"), pod.image("c"), sdk.conventions.env_prefix()])

        file = sdk.Delivery.FILE
        testing.inject(
            exported(inject=inject)[0],
            request={"group": "g", "group_version": "1", "key": "k", "deliver_as": file, "env_var": "E", "options": {"a": "1"}},
            pod={
                "labels": {"l": "1"},
                "annotations": {"a": "2"},
                "containers": {"c": "image"},
                "init_containers": {"i": "other"},
            },
        )
        expected = ["g", "1", "k", file, "E", False, {"a": "1"}, "default", "pod", "", None, {"l": "1"}]
        expected += [{"a": "2"}, ["c"], ["i"], "1", "2", "image", "_FSEC_"]
        self.assertEqual(seen, expected)

    def test_an_exception_is_the_reason_for_edits_and_for_values(self) -> None:
        for error, reason, seconds in [
            (sdk.NotFound("no"), "not_found", None),
            (sdk.Unsupported("no"), "unsupported", None),
            (sdk.Invalid("no"), "invalid", None),
            (sdk.Denied("no"), "denied", None),
            (sdk.Unavailable("no"), "unavailable", None),
            (sdk.Unavailable("no", retry_after_seconds=5), "unavailable", 5),
            (sdk.Internal("no"), "internal", None),
        ]:
            with self.subTest(error=error):

                def inject(self: sdk.Plugin, request: sdk.Request, pod: sdk.Pod, error: Exception = error) -> None:
                    request.set_env("A", "a")
                    raise error

                injector, fetcher, _ = exported(inject=inject, fetch=raising(error))
                expected = {"reason": reason, "text": "no", "retry_after_seconds": seconds}
                self.assertEqual(testing.inject(injector), Answer(**expected))
                self.assertEqual(testing.fetch(injector, fetcher, "p"), Fetched(**expected))

    def test_the_message_of_another_exception_is_only_logged(self) -> None:
        injector, fetcher, _ = exported(inject=raising(ValueError("hush")), fetch=raising(ValueError("hush")))
        text = "the plugin failed (ValueError); the log of the webhook has the reason"
        self.assertEqual(testing.inject(injector), Answer(reason="internal", text=text))
        self.assertEqual(testing.fetch(injector, fetcher, "p"), Fetched(reason="internal", text=text))
        self.assertIn("error: ValueError: hush", host.log)

    def test_a_failed_call_of_the_host_is_a_reason(self) -> None:
        for error, reason in [
            (http.HttpError("unavailable", "store.example: connection refused"), "unavailable"),
            (http.HttpError("denied", "store.example: not in grants.http.hosts"), "internal"),
            (kubernetes_secrets.SecretError("unavailable", "the API server does not answer"), "unavailable"),
            (kubernetes_secrets.SecretError("not-found", "Secret a/b does not exist"), "internal"),
            (kubernetes_secrets.SecretError("denied", "Secret a/b is not granted"), "internal"),
        ]:
            with self.subTest(error=error):
                injector, fetcher, _ = exported(fetch=raising(error))
                self.assertEqual(testing.fetch(injector, fetcher, "p"), Fetched(reason=reason, text=str(error)))

    def test_an_error_of_the_host_has_a_class_and_a_plain_text(self) -> None:
        def code(name: str, value: Any = None) -> Any:
            return type(f"ErrorCode_{name}", (), {"value": value})()

        login = "the host cannot log in to store.example:443: "
        for error, expected in [
            (code("HttpRequestDenied"), ("denied", "not in grants.http.hosts")),
            (code("ConnectionRefused"), ("unavailable", "connection refused")),
            (code("DnsError", object()), ("unavailable", "no address found")),
            (code("LoopDetected"), ("unavailable", "the request failed")),
            (code("InternalError"), ("unavailable", "the request failed")),
            (
                code("InternalError", login + "the login server does not answer"),
                ("unavailable", login + "the login server does not answer"),
            ),
            (
                code("InternalError", login + "the credential is not set up"),
                ("denied", login + "the credential is not set up"),
            ),
        ]:
            self.assertEqual(http._failure(error), expected)

    def test_a_segment_of_a_url_stays_a_segment(self) -> None:
        for text, expected in [("db", "db"), ("a/b?c=d#e f", "a%2Fb%3Fc%3Dd%23e%20f"), ("...", "..."), ("é", "%C3%A9")]:
            self.assertEqual(http.url_segment("key", text), expected)
        for text in ["", ".", ".."]:
            with self.assertRaises(sdk.Invalid) as caught:
                http.url_segment("key", text)
            expected = f'key "{text}" cannot be part of a URL: it must not be empty, `.` or `..`'
            self.assertEqual(str(caught.exception), expected)

    def test_a_value_of_a_wrong_type_is_named_without_the_value(self) -> None:
        for found, kind in [(None, "NoneType"), (5, "int"), (sdk.Value(["hush"]), "list")]:  # type: ignore[arg-type]
            with self.subTest(found=found):
                injector, fetcher, _ = exported(fetch=lambda self, promise, found=found: found)
                expected = f"fetch must return str, bytes or Value, not {kind}"
                self.assertEqual(
                    testing.fetch(injector, fetcher, "p"), Fetched(reason="internal", text=expected)
                )

    def test_an_argument_of_a_wrong_type_is_named(self) -> None:
        injector, _, _ = exported(inject=lambda self, request, pod: request.set_env_from_promise(None, "p"))
        answer = testing.inject(injector)
        self.assertEqual(answer.text, "the plugin failed (TypeError); the log of the webhook has the reason")
        self.assertEqual(host.log[-1], "error: TypeError: name must be str, not NoneType")

    def test_the_class_of_an_exception_in_configure_is_named_if_the_message_needs_it(self) -> None:
        for error, expected in [(KeyError("url"), "KeyError: 'url'"), (ValueError("url: no"), "url: no")]:
            with self.assertRaises(Err) as caught:
                exported(configure=raising(error))[0]().configure("{}")
            self.assertEqual(caught.exception.value, expected)

    def test_a_traceback_is_logged_line_by_line(self) -> None:
        testing.inject(exported(inject=raising(ValueError("no")))[0])
        self.assertEqual(host.log[0], "error: Traceback (most recent call last):")
        self.assertEqual(host.log[-1], "error: ValueError: no")
        self.assertTrue(all("\n" not in line for line in host.log))

    def test_a_reason_is_not_logged(self) -> None:
        testing.inject(exported(inject=raising(sdk.Denied("no")))[0])
        self.assertEqual(host.log, [])

    def test_a_rejected_edit_is_invalid(self) -> None:
        injector, _, _ = exported(inject=lambda self, request, pod: request.set_env("A=B", ""))
        expected = Answer(reason="invalid", text="A=B is not a name of a variable")
        self.assertEqual(testing.inject(injector), expected)

    def test_a_value_is_a_text_or_bytes_or_has_a_version_and_a_lifetime(self) -> None:
        for found, expected in [
            ("v", Fetched(b"v")),
            (b"v", Fetched(b"v")),
            (sdk.Value("v", version="7", expires_in_seconds=60), Fetched(b"v", "7", 60)),
        ]:
            with self.subTest(found=found):
                injector, fetcher, _ = exported(fetch=lambda self, promise, found=found: found)
                self.assertEqual(testing.fetch(injector, fetcher, "p"), expected)

    def test_a_promise_without_fetch_is_internal(self) -> None:
        injector, fetcher, _ = exported()
        answer = testing.fetch(injector, fetcher, "p")
        self.assertEqual((answer.reason, answer.text), ("internal", "the plugin has no method fetch"))

    def test_a_check_reports_its_exception_as_a_text(self) -> None:
        self.assertIsNone(exported()[2]().check())
        with self.assertRaises(Err) as caught:
            exported(check=raising(ValueError("login failed")))[2]().check()
        self.assertEqual(caught.exception.value, "login failed")

    def test_a_plugin_uses_the_grants_of_the_fake_host(self) -> None:
        def fetch(self: sdk.Plugin, promise: str) -> bytes:
            cache.set("token", kubernetes_secrets.read("store", "token", "value"), 60)
            token = (cache.get("token") or b"").decode()
            return http.get(f"https://store/{promise}", {"authorization": token}).body

        sent = []

        def answer(*words: Any) -> http.Response:
            sent.append(words)
            return http.Response(200, {}, b"found")

        host.secrets["store/token/value"] = b"t"
        host.http = answer
        injector, fetcher, _ = exported(fetch=fetch)
        self.assertEqual(testing.fetch(injector, fetcher, "p"), Fetched(b"found"))
        self.assertEqual(sent, [("GET", "https://store/p", {"authorization": "t"}, b"")])
        self.assertTrue(kubernetes_secrets.exists("store", "token", "value"))
        keys = [("store", "token", "other"), ("store", "token", "value")]
        self.assertEqual(kubernetes_secrets.first_existing(keys), 1)
        self.assertIsNone(kubernetes_secrets.first_existing(keys[:1]))
        with self.assertRaises(kubernetes_secrets.SecretError) as caught:
            kubernetes_secrets.read("store", "token", "other")
        self.assertEqual(caught.exception.reason, "not-found")


if __name__ == "__main__":
    unittest.main()
