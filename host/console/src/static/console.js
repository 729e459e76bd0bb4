// The frame of the console: the token, the pages by the fragment of the URL, and messages.

import { read, setToken } from "./client.js";
import { element, fill } from "./dom.js";
import { configuration, decisions, overview, plugins, policy, shadows, trial } from "./pages.js";

/// Fragment, title, page, and whether it shows the process as a whole.
const PAGES = [
  ["overview", "Overview", overview, true],
  ["plugins", "Plugins", plugins, true],
  ["decisions", "Decisions", decisions, false],
  ["shadows", "Shadows", shadows, false],
  ["try", "Try a pod", trial, false],
  ["policy", "Policy", policy, true],
  ["configuration", "Configuration", configuration, true],
];

const part = (id) => document.getElementById(id);
const main = part("main");
let caller;
let stop = () => {};

/// Shows a message, an error, or nothing.
function report(message = "") {
  const isError = message instanceof Error;
  if (isError && message.name === "AbortError") return;
  const text = isError ? message.message : message;
  part("status").className = isError ? "problem" : "";
  if (part("status").textContent !== text) part("status").textContent = text;
  if (isError && message.status === 401 && caller) leave(text);
}

/// Asks for the token.
function askForToken(reason = "") {
  const input = element("input", { id: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false" });
  const enter = async (event) => {
    event.preventDefault();
    setToken(input.value);
    report("The API server checks the token …");
    try {
      caller = await read("me");
    } catch (error) {
      setToken("");
      report(error);
      return;
    }
    input.value = "";
    part("user").textContent = caller.username;
    for (const id of ["pages", "caller"]) part(id).hidden = false;
    report();
    route();
  };
  fill(main, element("h1", { tabindex: "-1" }, "Sign in"),
    element("p", {}, "The console acts with your own token of the Kubernetes API, such as the output of ",
      element("code", {}, "kubectl create token ACCOUNT"), ". The token stays in the memory of this page."),
    reason && element("p", { class: "problem" }, reason),
    element("form", { onsubmit: enter }, element("label", {}, "Token", input), element("button", { type: "submit" }, "Sign in")));
  input.focus();
}

/// Forgets the token.
function leave(reason) {
  stop();
  stop = () => {};
  caller = undefined;
  setToken("");
  for (const id of ["pages", "caller"]) part(id).hidden = true;
  askForToken(reason);
}

/// Shows the page of the fragment.
function route() {
  if (!caller) return;
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const permitted = PAGES.filter(([, , , ofProcess]) => caller.readsProcess || !ofProcess);
  const [fragment, title, page] = permitted.find(([name]) => name === path) ?? permitted[0];
  stop();
  report();
  fill(part("pages"), permitted.map(([name, text]) => element("a", { href: `#/${name}`, "aria-current": name === fragment ? "page" : undefined }, text)));
  document.title = `${title} – Ampoule console`;
  stop = page(main, { report, caller, parameters: new URLSearchParams(query ?? "") });
  main.querySelector("h1")?.focus();
}

addEventListener("hashchange", route);
part("leave").addEventListener("click", () => leave(""));
askForToken();
