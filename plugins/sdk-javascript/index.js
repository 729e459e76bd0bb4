// SDK for Ampoule plugins: `definePlugin` creates the exports of a component. `index.d.ts` documents
// every name.

import * as host from 'ampoule:injector/conventions@0.2.0';
import { log } from 'ampoule:injector/log@0.2.0';

export { InitContainer, Volume } from 'ampoule:injector/admission@0.2.0';
export { log };

export const conventions = {
  get profile() { return host.profile(); },
  get envPrefix() { return host.envPrefix(); },
  get mountDirectory() { return host.mountDirectory(); },
};

export class Refusal extends Error {
  get name() { return this.constructor.name; }
}

export class NotFound extends Refusal {
  answer(resource) { resource.notFound(this.message); }
}

export class Unsupported extends Refusal {
  answer(resource) { resource.unsupported(this.message); }
}

export class Invalid extends Refusal {
  answer(resource) { resource.invalid(this.message); }
}

export class Denied extends Refusal {
  answer(resource) { resource.denied(this.message); }
}

// Encodes a text of a pod for one segment of a path.
export function urlSegment(what, text) {
  if (text === '' || text === '.' || text === '..') {
    throw new Invalid(`${what} ${JSON.stringify(text)} cannot be part of a URL: it must not be empty, \`.\` or \`..\``);
  }
  return encodeURIComponent(text);
}

export class Unavailable extends Refusal {
  constructor(text, { retryAfterSeconds, ...options } = {}) {
    super(text, options);
    this.retryAfterSeconds = retryAfterSeconds;
  }

  answer(resource) { resource.unavailable(this.message, this.retryAfterSeconds); }
}

export class Internal extends Refusal {
  answer(resource) { resource.internal(this.message); }
}

export function definePlugin({ name, version, deliveries, servesAll, settingsSchema, configure, inject, fetch, check }) {
  let settings = {};
  return {
    injector: {
      describe: () => JSON.stringify({ name, version, deliveries, servesAll, settingsSchema }),
      configure(text) {
        const given = JSON.parse(text);
        settings = orRejection(() => configure?.(given) ?? given);
      },
      inject: (pod, request) => answer(request, () => inject(new Request(request), new Pod(pod), settings)),
    },
    fetcher: {
      fetch: (promise) => answer(promise, () => {
        if (!fetch) throw new Internal('the plugin has no function fetch');
        return then(fetch(promise.text(), settings), (found) => setValue(promise, found));
      }),
    },
    lifecycle: { check: () => orRejection(() => then(check?.(settings), () => {})) },
  };
}

class Pod {
  #host;
  constructor(host) { this.#host = host; }
  get namespace() { return this.#host.namespace(); }
  get name() { return this.#host.name(); }
  get serviceAccount() { return this.#host.serviceAccount(); }
  get operatingSystem() { return this.#host.operatingSystem(); }
  get labels() { return Object.fromEntries(this.#host.labels()); }
  get annotations() { return Object.fromEntries(this.#host.annotations()); }
  get containers() { return this.#host.containers(); }
  get initContainers() { return this.#host.initContainers(); }
  label(key) { return this.#host.label(key); }
  annotation(key) { return this.#host.annotation(key); }
  image(container) { return this.#host.image(container); }
}

class Request {
  #host;
  constructor(host) { this.#host = host; }
  get group() { return this.#host.group(); }
  get groupVersion() { return this.#host.groupVersion(); }
  get key() { return this.#host.key(); }
  get deliverAs() { return this.#host.deliverAs(); }
  get envVar() { return this.#host.envVar(); }
  get allKeys() { return this.#host.allKeys(); }
  get options() { return Object.fromEntries(this.#host.options()); }

  setEnv(name, value) {
    texts({ name, value });
    edit(() => this.#host.setEnv(name, value));
  }

  setEnvFromSecret(name, { secret, key, optional = false }) {
    texts({ name, secret, key });
    edit(() => this.#host.setEnvFromSecret(name, secret, key, optional));
  }

  setEnvFromPromise(name, promise) {
    texts({ name, promise });
    edit(() => this.#host.setEnvFromPromise(name, promise));
  }

  writeFileFromSecret(path, { secret, key, mode, optional = false }) {
    texts({ path, secret, key });
    edit(() => this.#host.writeFileFromSecret(path, secret, key, mode, optional));
  }

  writeFileFromPromise(path, promise, { mode } = {}) {
    texts({ path, promise });
    edit(() => this.#host.writeFileFromPromise(path, promise, mode));
  }

  pullSecretFromPromise(promise) {
    texts({ promise });
    edit(() => this.#host.pullSecretFromPromise(promise));
  }

  addVolume(name, volume) {
    edit(() => this.#host.addVolume(name, volume));
  }

  mount(volume, path, { readOnly = true, subPath } = {}) {
    edit(() => this.#host.mount(volume, path, readOnly, subPath));
  }

  addInitContainer(container) {
    edit(() => this.#host.addInitContainer(container));
  }

  setAnnotation(key, value, { mustOwn = false } = {}) {
    texts({ key, value });
    edit(() => this.#host.setAnnotation(key, value, mustOwn));
  }

  addImagePullSecret(name) {
    texts({ name });
    edit(() => this.#host.addImagePullSecret(name));
  }

  discardEdits() { this.#host.discardEdits(); }
  warn(text) { this.#host.warn(text); }
}

// Makes an edit. A rejected edit throws `Invalid`.
function edit(make) {
  try {
    make();
  } catch (error) {
    throw new Invalid(textOf(error), { cause: error });
  }
}

function setValue(promise, found) {
  // Bytes of the host belong to another realm, so that `instanceof` is false.
  const isValue = typeof found === 'string' || ArrayBuffer.isView(found);
  const { value, version, expiresInSeconds } = isValue ? { value: found } : found ?? {};
  if (typeof value !== 'string' && !ArrayBuffer.isView(value)) {
    throw new Internal(`fetch must return a string, a Uint8Array or an object with value, not ${typeOf(found)}`);
  }
  if (version !== undefined) promise.version(version);
  if (expiresInSeconds !== undefined) promise.expiresIn(expiresInSeconds);
  promise.value(typeof value === 'string' ? new TextEncoder().encode(value) : value);
}

// The type of a returned value. The value itself can be secret.
function typeOf(found) {
  if (found === null || typeof found !== 'object') return found === null ? 'null' : typeof found;
  return `an object with the keys ${JSON.stringify(Object.keys(found))}`;
}

// Fails for an argument that is not a text. The host would report it without a place.
function texts(named) {
  for (const [name, value] of Object.entries(named)) {
    if (typeof value !== 'string') throw new TypeError(`${name} must be a string, not ${typeof value}`);
  }
}

// Calls a function of the plugin, and answers with the reason that it throws.
function answer(resource, work) {
  const refuse = (error) => {
    if (error instanceof Refusal) return error.answer(resource);
    if (error?.payload?.tag === 'unavailable') return resource.unavailable(textOf(error), undefined);
    for (const line of trace(error)) log('error', line);
    if (isNetworkError(error)) return resource.unavailable(UNREACHABLE, undefined);
    resource.internal(publicText(error));
  };
  return attempt(() => then(work(), () => {}), refuse);
}

const UNREACHABLE = 'the store did not answer the request; the log of the webhook has the reason';

// Whether `fetch` failed. The engine does not pass on the reason of the host.
function isNetworkError(error) {
  return error instanceof TypeError && /^(NetworkError|fetch failed)/.test(error.message);
}

// The message and the stack. The stack of SpiderMonkey does not contain the message, that of V8 does.
function trace(error) {
  const [message, stack] = [String(error), error?.stack ?? ''];
  return (stack.startsWith(message) ? stack : `${message}\n${stack}`).trimEnd().split('\n');
}

// Calls a function of the plugin, and throws its error as the text that the contract requires.
function orRejection(work) {
  return attempt(work, (error) => { throw textOf(error); });
}

function attempt(work, failed) {
  try {
    const result = work();
    return isThenable(result) ? result.then(undefined, failed) : result;
  } catch (error) {
    return failed(error);
  }
}

// Continues at once if the value is not a promise, so that a plugin without `async` needs no event
// loop.
function then(value, next) {
  return isThenable(value) ? value.then(next) : next(value);
}

function isThenable(value) {
  return typeof value?.then === 'function';
}

// The text of an unexpected error for the pod's author. A text of the host contains no value; the
// message of another error can.
function publicText(error) {
  if (error?.payload !== undefined) return textOf(error);
  return `the plugin failed (${error?.name ?? typeof error}); the log of the webhook has the reason`;
}

// The text of an error. An error of the host has a payload: a text, or a variant with a text.
function textOf(error) {
  const text = error?.payload?.val ?? error?.payload ?? error?.message ?? error;
  return typeof text === 'string' ? text : JSON.stringify(text) ?? String(text);
}
