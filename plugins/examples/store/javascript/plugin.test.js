// The plugin without WebAssembly: node --import ./sdk/testing/register.js --test plugin.test.js

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fetchPromise, inject } from './sdk/testing/index.js';
import * as plugin from './plugin.js';

const settings = { url: 'https://secrets.example.com/v1' };

test('a key becomes a variable from a promise', async () => {
  const { edits } = await inject(plugin, { settings, request: { group: 'database', key: 'pass/word' } });
  assert.deepEqual(edits, [['setEnvFromPromise', '_FSEC_PASS/WORD', 'database/pass%2Fword']]);
});

test('a group or key that is no segment of a path is invalid', async () => {
  const { reason } = await inject(plugin, { settings, request: { group: '..', key: 'password' } });
  assert.equal(reason, 'invalid');
});

test('the value of a promise is the body of the answer', async (context) => {
  context.mock.method(globalThis, 'fetch', async () => new Response('hush'));
  assert.deepEqual(await fetchPromise(plugin, 'database/password', { settings }), { value: 'hush' });
  const [url] = globalThis.fetch.mock.calls[0].arguments;
  assert.equal(url, 'https://secrets.example.com/v1/database/password');
});
