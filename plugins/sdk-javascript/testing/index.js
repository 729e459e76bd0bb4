// Runs a plugin without WebAssembly. The fake host records the calls and checks only the names of
// variables: `ampoule plugin test` checks the rest.

import { fail, host, resetHost } from './host.js';

export { host, resetHost };

const EDITS = [
  'setEnv', 'setEnvFromSecret', 'setEnvFromPromise', 'writeFileFromSecret', 'writeFileFromPromise',
  'pullSecretFromPromise', 'addVolume', 'mount', 'addInitContainer', 'setAnnotation',
  'addImagePullSecret',
];
const REASONS = ['notFound', 'unsupported', 'invalid', 'denied', 'unavailable', 'internal'];

/** Configures the plugin and sends it a request. */
export async function inject(plugin, { settings = {}, request = {}, pod = {} } = {}) {
  const answer = { edits: [], warnings: [] };
  plugin.injector.configure(JSON.stringify(settings));
  await plugin.injector.inject(fakePod(pod), fakeRequest(request, answer));
  if (answer.reason) answer.edits = [];
  return answer;
}

/** Configures the plugin and lets it fetch the value of a promise. */
export async function fetchPromise(plugin, text, { settings = {} } = {}) {
  const answer = {};
  plugin.injector.configure(JSON.stringify(settings));
  await plugin.fetcher.fetch({
    text: () => text,
    value: (bytes) => { answer.value ??= new TextDecoder().decode(bytes); },
    version: (version) => { answer.version = version; },
    expiresIn: (seconds) => { answer.expiresInSeconds = seconds; },
    ...reasons(answer),
  });
  return answer;
}

function fakePod(pod) {
  const { namespace = 'default', name = 'pod', serviceAccount = '', labels = {}, annotations = {} } = pod;
  const { containers = { main: undefined }, initContainers = {} } = pod;
  return {
    namespace: () => namespace,
    name: () => name,
    serviceAccount: () => serviceAccount,
    operatingSystem: () => pod.operatingSystem,
    label: (key) => labels[key],
    annotation: (key) => annotations[key],
    labels: () => Object.entries(labels).sort(),
    annotations: () => Object.entries(annotations).sort(),
    containers: () => Object.keys(containers),
    initContainers: () => Object.keys(initContainers),
    image: (container) => containers[container] ?? initContainers[container],
  };
}

function fakeRequest({ group = '', groupVersion = '', key = '', deliverAs = 'any', envVar, allKeys = false, options = {} }, answer) {
  const fake = {
    group: () => group,
    groupVersion: () => groupVersion,
    key: () => key,
    deliverAs: () => deliverAs,
    envVar: () => envVar,
    allKeys: () => allKeys,
    options: () => Object.entries(options).sort(),
    discardEdits: () => { answer.edits = []; },
    warn: (text) => { answer.warnings.push(text); },
    ...reasons(answer),
  };
  for (const name of EDITS) {
    fake[name] = (...words) => {
      if (name.startsWith('setEnv') && !/^[ -<>-~]+$/.test(words[0])) fail(`${words[0]} is not a name of a variable`);
      answer.edits.push([name, ...words]);
    };
  }
  return fake;
}

// The first reason counts.
function reasons(answer) {
  return Object.fromEntries(REASONS.map((reason) => [reason, (text, retryAfterSeconds) => {
    if (answer.reason) return;
    Object.assign(answer, { reason, text }, retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
  }]));
}
