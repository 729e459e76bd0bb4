// The plugin without WebAssembly: node --import ./sdk/testing/register.js --test plugin.test.js

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { inject } from './sdk/testing/index.js';
import * as plugin from './plugin.js';

test('a key becomes a variable from the Secret of its group', async () => {
  const request = { group: 'database', key: 'password' };
  const { edits } = await inject(plugin, { settings: { secretPrefix: 'team-a-' }, request });
  assert.deepEqual(edits, [['setEnvFromSecret', '_FSEC_PASSWORD', 'team-a-database', 'password', false]]);
});

test('a file is not supported', async () => {
  const { reason } = await inject(plugin, { request: { group: 'database', key: 'password', deliverAs: 'file' } });
  assert.equal(reason, 'unsupported');
});
