// Uses every grant through the SDK, and fails in two ways: `tests/e2e/authors.rs` builds it in a new
// plugin.

import { get, set } from 'ampoule:injector/cache@0.2.0';
import { read } from 'ampoule:injector/kubernetes-secrets@0.2.0';
import { getEnvironment } from 'wasi:cli/environment@0.2.0';
import { definePlugin, NotFound } from './sdk/index.js';

const fetchers = {
  environment: () => Object.fromEntries(getEnvironment()).TOKEN,
  secret: () => read('store', 'token', 'value'),
  cache() {
    set('key', new TextEncoder().encode('cached'), 60);
    return get('key');
  },
  async http() {
    await new Promise((done) => { setTimeout(done, 1); });
    const response = await fetch('https://secrets.example.com/v1?a=b', { headers: { 'x-token': 't' } });
    return { value: await response.text(), version: String(response.status), expiresInSeconds: 60 };
  },
  missing() { throw new NotFound('the store has no such secret'); },
};

const plugin = definePlugin({
  name: 'grants',
  version: '1.0.0',
  inject(request) {
    console.log('a line of the log');
    if (request.key === 'exception') readAccount({});
    request.setEnvFromPromise('VALUE', request.key);
  },
  fetch: (promise) => fetchers[promise](),
});

// Throws a TypeError. Its message contains text that a terminal or a log must not interpret.
function readAccount(answer) {
  console.error('the store answered \u001b[31m{}');
  return answer.account.id;
}

export const { fetcher, lifecycle } = plugin;

export const injector = {
  ...plugin.injector,
  // An exception that the SDK does not catch is a trap, as in a plugin without the SDK.
  inject(pod, request) {
    if (request.key() === 'trap') {
      console.log('a line before the trap');
      readAccount({});
    }
    return plugin.injector.inject(pod, request);
  },
};
