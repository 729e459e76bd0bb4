// Requests to the API. The token is in memory only: a reload of the page forgets it.

let token = "";

/// A refusal of the API.
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function setToken(text) {
  token = text.trim();
}

/// Sends a request, and returns the JSON of the answer.
async function send(path, options = {}) {
  const headers = { ...options.headers, authorization: `Bearer ${token}` };
  const request = { ...options, headers, credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" };
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The webhook does not respond.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, body.detail ?? `HTTP status ${answer.status}`);
  return body;
}

export function read(path, parameters = {}, signal = undefined) {
  const known = Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined);
  const query = new URLSearchParams(known).toString();
  return send(query ? `${path}?${query}` : path, { signal });
}

/// Tries a pod. Text that begins with a brace is JSON.
export function tryPod(namespace, apiServer, pod, signal) {
  const query = new URLSearchParams({ namespace, apiServer: String(apiServer) });
  const type = pod.trimStart().startsWith("{") ? "application/json" : "application/yaml";
  return send(`dry-run?${query}`, { method: "POST", headers: { "content-type": type }, body: pod, signal });
}
