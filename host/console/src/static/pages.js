// The pages. Each is a function that fills the main element and returns a function to stop it.

import { read, tryPod } from "./client.js";
import { chart, duration, element, facts, fill, table } from "./dom.js";
import { candidateText, changes, requests, secretName, tone } from "./story.js";

const POLL = 2000;
const KEPT = 500;

/// Calls a function now and after each interval, until it is stopped.
function repeat(work, report, interval = POLL) {
  const abort = new AbortController();
  let timer;
  const turn = async () => {
    try {
      if (!document.hidden) await work(abort.signal);
    } catch (error) {
      if (abort.signal.aborted) return;
      report(error);
      if (error.status === 401 || error.status === 403) return;
    }
    if (!abort.signal.aborted) timer = setTimeout(turn, interval);
  };
  turn();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}

function heading(text) {
  return element("h1", { tabindex: "-1" }, text);
}

export function overview(main, { report }) {
  const content = element("div");
  const rates = [];
  let last;
  fill(main, heading("Overview"), content);
  return repeat(async (signal) => {
    const state = await read("overview", {}, signal);
    const total = state.admissions.reduce((sum, one) => sum + one.count, 0);
    if (last !== undefined) rates.push(Math.max(0, total - last));
    last = total;
    if (rates.length > 60) rates.shift();
    const attention = [...state.attention, ...state.readiness.filter((line) => !line.startsWith("[+]"))];
    fill(content,
      facts([
        ["State", element("span", { class: state.ready ? "good" : "bad" }, state.ready ? "ready" : "not ready")],
        ["Version", state.version],
        ["Runs for", `${Math.floor(state.uptimeSeconds / 60)} min`],
        ["Latency", `median ${duration(state.latency.medianMicros)}, 99 % ${duration(state.latency.p99Micros)}, of the last ${state.latency.decisions}`],
      ]),
      element("h2", {}, "Needs attention"),
      attention.length === 0 ? element("p", { class: "good" }, "Nothing.") : element("ul", {}, attention.map((text) => element("li", { class: "problem" }, text))),
      element("h2", {}, "Admissions"),
      chart(`Admissions per ${POLL / 1000} seconds, the last is ${rates.at(-1) ?? 0}`, rates),
      table("Admissions by outcome", [
        ["Outcome", (one) => element("span", { class: tone(one.outcome) }, one.outcome)],
        ["Count", (one) => one.count, "number"],
      ], state.admissions),
      element("p", { class: "muted" }, "The figures are those of this replica since its start."));
    report();
  }, report);
}

export function plugins(main, { report }) {
  const content = element("div");
  fill(main, heading("Plugins"), content);
  const abort = new AbortController();
  read("plugins", {}, abort.signal).then((list) => {
    fill(content, list.length === 0 ? "No plugin is configured." : list.map(plugin));
    report();
  }).catch(report);
  return () => abort.abort();
}

function plugin(one) {
  const good = one.state === "loaded";
  return element("details", {},
    element("summary", {}, element("strong", {}, one.name), " ",
      element("span", { class: good ? "good" : "bad" }, one.state), element("span", { class: "muted" }, ` ${one.source}`)),
    element("div", {},
      one.notes.map((note) => element("p", { class: "problem" }, note)),
      facts([
        ["Version", one.version],
        ["SHA-256", one.digest ? element("code", {}, one.digest) : undefined],
        ["Signed by", one.signer],
        ["Required", one.required ? "yes" : "no"],
        ["From a ConfigMap", one.configMap ? "yes" : "no"],
        ["Generation", one.generation],
        ["Guest time", `${one.figures.guestSeconds.toFixed(3)} s`],
        ["Peak memory", `${(one.figures.memoryBytes / 1048576).toFixed(1)} MiB`],
      ]),
      one.figures.calls.length > 0 && table(`Calls of ${one.name}`, [
        ["Outcome", (call) => call.outcome],
        ["Calls", (call) => call.count, "number"],
        ["Mean", (call) => duration(call.meanMicros), "number"],
      ], one.figures.calls),
      one.entry && [element("h3", {}, "Grants, limits and edits"), element("pre", { tabindex: "0" }, JSON.stringify(one.entry, null, 2))]));
}

/// A page of the log that is read live, filtered by words, and shown with one function per entry.
function log(main, { report, parameters, caller }, { title, path, none, note, entry }) {
  const namespace = element("input", { id: "namespace", autocomplete: "off", spellcheck: "false" });
  const words = element("input", { id: "filter", autocomplete: "off", oninput: () => show() });
  const live = element("input", { id: "live", type: "checkbox", checked: true, onchange: () => start() });
  const list = element("div", { id: path });
  namespace.value = parameters.get("namespace") ?? "";
  const hint = caller.readsAllDecisions ? "Namespace (empty: all)" : "Namespace";
  fill(main, heading(title),
    element("form", { onsubmit: (event) => { event.preventDefault(); start(); } },
      element("label", {}, hint, namespace), element("label", {}, "Filter by pod, outcome, secret or injector", words),
      element("label", { class: "inline" }, live, "Live"), element("button", { type: "submit" }, "Show")),
    list, element("p", { class: "muted" }, note));
  let [stop, entries, shown] = [() => {}, [], new Set()];

  function start() {
    stop();
    entries = [];
    let after;
    const wanted = namespace.value.trim();
    if (wanted === "" && !caller.readsAllDecisions) {
      fill(list, element("p", { class: "muted" }, "Enter a namespace in which you may get pods."));
      return;
    }
    fill(list);
    stop = repeat(async (signal) => {
      if (after !== undefined && !live.checked) return;
      const page = await read(path, { namespace: wanted, after }, signal);
      const isFirst = after === undefined;
      after = page.last;
      if (page[path].length === 0 && !isFirst) return;
      entries = [...entries, ...page[path]].slice(-KEPT);
      show();
    }, report);
  }

  function show() {
    const wanted = words.value.trim().toLowerCase();
    const matching = entries.filter((one) => wanted === "" || JSON.stringify(one).toLowerCase().includes(wanted));
    for (const open of list.querySelectorAll("details")) {
      if (open.open) shown.add(open.dataset.number); else shown.delete(open.dataset.number);
    }
    fill(list, matching.length === 0 ? element("p", { class: "muted" }, none) : matching.toReversed().map((one) => entry(one, shown)));
    report(`${matching.length} of ${entries.length} entries`);
  }

  start();
  return () => stop();
}

/// An entry of the log, which stays open while others arrive.
function entry(one, shown, result, ...content) {
  const time = new Date(one.timeMillis);
  return element("details", { "data-number": one.number, open: shown.has(String(one.number)) },
    element("summary", {}, element("time", { datetime: time.toISOString(), class: "muted" }, time.toLocaleTimeString()), " ",
      element("strong", {}, `${one.namespace}/${one.name === "" ? "(unnamed)" : one.name}`), " ",
      result, one.dryRun ? " (dry run)" : ""),
    element("div", {}, content));
}

export function decisions(main, context) {
  const note = "The last decisions of this replica. A decision has no value of a secret.";
  return log(main, context, { title: "Decisions", path: "decisions", none: "No decision.", note, entry: decision });
}

function decision(one, shown) {
  return entry(one, shown, element("span", { class: tone(one.outcome) }, one.outcome), requests(one.requests, one.omitted), facts([
    ["Verdict", `${one.outcome}, code ${one.code}`],
    ["Time", duration(one.micros)],
    ["Service account", one.serviceAccount],
    ["Review", element("code", {}, one.uid)],
  ]));
}

export function shadows(main, context) {
  const note = "What shadow rules and shadow injectors would have done. They change no pod, and no entry has a value.";
  return log(main, context, { title: "Shadows", path: "differences", none: "No difference.", note, entry: difference });
}

function difference(one, shown) {
  const total = one.differences.length + one.omitted;
  return entry(one, shown, element("span", { class: "note" }, total === 1 ? "1 difference" : `${total} differences`),
    table(`Differences of ${one.namespace}/${one.name}`, [
      ["Candidate", (row) => [row.candidate, " ", element("strong", {}, row.name), row.injector && ` for injector ${row.injector}`]],
      ["Secret", (row) => [element("code", {}, secretName(row)), element("div", { class: "muted" }, row.place)]],
      ["Served", (row) => row.served],
      ["Candidate’s answer", candidateText],
    ], one.differences),
    one.omitted > 0 && element("p", { class: "muted" }, `${one.omitted} more differences are not recorded`),
    facts([["Review", element("code", {}, one.uid)]]));
}

const EXAMPLE = `apiVersion: v1
kind: Pod
metadata:
  name: example
  labels: { ampoule.dev/inject: "true" }
  annotations:
    ampoule.dev/secrets: |
      - { group: db, key: password, env: DB_PASSWORD }
spec:
  containers:
  - { name: main, image: example.org/app:1 }
`;

export function trial(main, { report, parameters }) {
  const namespace = element("input", { id: "namespace", required: true, autocomplete: "off", spellcheck: "false" });
  const pod = element("textarea", { id: "pod", required: true, spellcheck: "false" });
  const asks = element("input", { id: "api-server", type: "checkbox" });
  const result = element("div", { id: "result" });
  [namespace.value, pod.value] = [parameters.get("namespace") ?? "default", EXAMPLE];
  asks.checked = parameters.get("apiServer") === "true";
  let abort = new AbortController();
  const submit = async (event) => {
    event.preventDefault();
    abort.abort();
    abort = new AbortController();
    fill(result);
    report("The webhook decides …");
    // The link has no part of the pod.
    const link = new URLSearchParams({ namespace: namespace.value, apiServer: String(asks.checked) });
    history.replaceState(null, "", `#/try?${link}`);
    try {
      show(result, await tryPod(namespace.value.trim(), asks.checked, pod.value, abort.signal));
      report("The result is below.");
    } catch (error) {
      if (!abort.signal.aborted) report(error);
    }
  };
  fill(main, heading("Try a pod"),
    element("p", {}, "What the webhook would do if you created this pod. Nothing is written, and values are hidden."),
    element("form", { onsubmit: submit },
      element("label", {}, "Namespace", namespace), element("label", { class: "wide" }, "Pod as YAML or JSON", pod),
      element("label", { class: "inline" }, asks, "Ask the API server as well (dryRun=All)"),
      element("button", { type: "submit" }, "Try")), result);
  return () => abort.abort();
}

function show(result, answer) {
  const asked = answer.apiServer;
  fill(result,
    element("h2", {}, "Verdict: ", element("span", { class: answer.allowed ? "good" : "bad" }, answer.allowed ? "allowed" : `refused with code ${answer.code}`)),
    answer.message && element("p", { class: "problem" }, answer.message),
    answer.warnings.map((text) => element("p", { class: "note" }, `Warning: ${text}`)),
    element("h3", {}, "Requests"), requests(answer.requests),
    element("h3", {}, "Changes of the pod"), changes(answer.patch),
    asked && [element("h3", {}, "API server"),
      asked.created ? element("p", { class: "good" }, "It would store the pod.") : element("p", { class: "problem" }, `It refuses the pod with code ${asked.code}: ${asked.message}`),
      asked.created && element("details", {}, element("summary", {}, "Changes by all webhooks and defaults"), element("div", {}, changes(asked.patch)))]);
}

export function policy(main, { report }) {
  const content = element("div");
  fill(main, heading("Policy"), content);
  return repeat(async (signal) => {
    const state = await read("policy", {}, signal);
    fill(content,
      element("h2", {}, "Rules"),
      state.rules.length === 0 ? element("p", { class: "muted" }, "No rule is configured.") : table("Rules", [
        ["Rule", (rule) => [element("strong", {}, rule.name), rule.message && element("div", { class: "muted" }, rule.message)]],
        ["Effect", (rule) => (rule.shadow ? `would ${rule.action} (shadow)` : rule.action)],
        ["Condition", (rule) => element("code", {}, rule.when)],
        ["Matches", (rule) => rule.matches, "number"],
        ["Errors", (rule) => element("span", { class: rule.errors > 0 ? "bad" : "" }, rule.errors), "number"],
      ], state.rules),
      element("h2", {}, "Shadow injectors"),
      state.shadowInjectors.length === 0 ? element("p", { class: "muted" }, "No shadow injector is configured.") : state.shadowInjectors.map((shadow) => [
        element("h3", {}, shadow.injector),
        table(`Comparisons of ${shadow.injector}`, [
          ["Result", ([name]) => name],
          ["Count", ([, count]) => count, "number"],
        ], Object.entries(shadow.results)),
      ]));
    report();
  }, report, 5000);
}

export function configuration(main, { report }) {
  const content = element("div");
  fill(main, heading("Configuration"), content);
  const abort = new AbortController();
  read("configuration", {}, abort.signal).then((document) => {
    fill(content,
      element("p", { class: "muted" }, "The configuration in effect. Settings of plugins have only their keys."),
      Object.entries(document).map(([key, value]) => element("details", {},
        element("summary", {}, element("code", {}, key)),
        element("div", {}, element("pre", { tabindex: "0" }, JSON.stringify(value, null, 2))))));
    report();
  }).catch(report);
  return () => abort.abort();
}
