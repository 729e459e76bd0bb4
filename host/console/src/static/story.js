// A decision as the story of one pod: requests, injectors, edits and verdict.

import { element } from "./dom.js";

/// The class of an outcome.
export function tone(outcome) {
  if (outcome === "mutated" || outcome === "unchanged") return "good";
  return outcome === "admitted-without-secrets" || outcome === "out-of-scope" ? "note" : "bad";
}

/// The requested secrets in order, with the answers and rules of each.
export function requests(list, omitted = 0) {
  if (list.length === 0) return element("p", { class: "muted" }, "The pod requests no secret.");
  const entries = list.map(request);
  if (omitted > 0) entries.push(element("li", { class: "muted" }, `${omitted} more requests are not recorded`));
  return element("ol", {}, entries);
}

/// A requested secret in one text.
export function secretName(request) {
  const secret = [request.group, request.key].filter((part) => part !== "").join("/");
  return request.version === "" ? secret : `${secret}@${request.version}`;
}

/// What a candidate would have done, with the edits that differ.
export function candidateText(difference) {
  const { candidate, result, answer, edits } = difference;
  if (result === "denied") return element("span", { class: "bad" }, "the policy denies the call");
  if (result === "failed") return element("span", { class: "bad" }, candidate === "rule" ? `${answer}: could not be evaluated` : `failed: ${answer}`);
  const kinds = edits.map((one) => element("div", { class: "muted" }, `${one.count} × ${one.edit} ${one.change}`));
  return [element("span", { class: "note" }, candidate === "rule" ? `would ${answer}` : answer), kinds];
}

function request(request) {
  const rules = request.rules.map((rule, index) => element("li", {}, ruleText(rule), text(request.findings, index)));
  const attempts = request.attempts.map((attempt, index) => element("li", {}, attemptText(attempt), text(request.answers, index)));
  const none = element("li", { class: "muted" }, "no injector was called");
  return element("li", {},
    element("code", {}, secretName(request)), element("span", { class: "muted" }, ` from ${request.place}`),
    element("ul", {}, rules, attempts.length > 0 ? attempts : none));
}

function text(texts, index) {
  const found = texts?.[index];
  return found ? element("div", { class: "muted" }, found) : undefined;
}

function ruleText(rule) {
  const effect = rule.shadow ? `would ${rule.action}` : rule.action;
  const place = rule.injector ? ` for injector ${rule.injector}` : "";
  const result = rule.failed ? "could not be evaluated" : "matched";
  return [`Rule ${rule.rule} ${result}${place}: `, element("span", { class: rule.decides ? "bad" : "note" }, rule.decides ? `decides (${effect})` : effect)];
}

function attemptText(attempt) {
  const injected = attempt.answer === "injected" || attempt.answer === "referenced";
  const edits = [attempt.edits === 1 ? "1 edit" : `${attempt.edits} edits`];
  if (attempt.values > 0) edits.push(`${attempt.values} with a fetched value`);
  if (attempt.references > 0) edits.push(`${attempt.references} with a reference to a Secret`);
  return [`Injector ${attempt.injector}: `, element("span", { class: injected ? "good" : "note" }, attempt.answer), injected ? ` (${edits.join(", ")})` : ""];
}

/// A JSON patch as a list of changes.
export function changes(patch) {
  if (patch.length === 0) return element("p", { class: "muted" }, "No change.");
  const sign = { add: "+", remove: "−", replace: "±" };
  return element("ul", {}, patch.map((operation) => element("li", {},
    element("code", { class: operation.op === "remove" ? "remove" : "add" }, `${sign[operation.op] ?? operation.op} ${operation.path}`),
    operation.value === undefined ? undefined : element("pre", {}, JSON.stringify(operation.value, null, 2)))));
}
