// The SDK with the fake host, without WebAssembly.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { runInNewContext } from 'node:vm';

import { getEnvironment } from 'wasi:cli/environment@0.2.0';
import { firstExisting, read } from 'ampoule:injector/kubernetes-secrets@0.2.0';
import * as sdk from '../index.js';
import { fetchPromise, host, inject, resetHost } from '../testing/index.js';

const define = (parts) => sdk.definePlugin({ name: 'example', version: '1.0.0', inject() {}, ...parts });

beforeEach(resetHost);

test('a description contains the parts of the definition', () => {
  const { injector } = define({ deliveries: ['env-var'], settingsSchema: { type: 'object' } });
  assert.deepEqual(JSON.parse(injector.describe()), {
    name: 'example', version: '1.0.0', deliveries: ['env-var'], settingsSchema: { type: 'object' },
  });
});

test('the settings reach inject as configure returns them', async () => {
  const seen = [];
  const inject_ = (request, pod, settings) => { seen.push(settings); };
  await inject(define({ inject: inject_ }), { settings: { a: 1 } });
  await inject(define({ inject: inject_, configure: () => {} }), { settings: { a: 2 } });
  await inject(define({ inject: inject_, configure: ({ a }) => a + 1 }), { settings: { a: 3 } });
  assert.deepEqual(seen, [{ a: 1 }, { a: 2 }, 4]);
});

test('an error in configure is a text', () => {
  const { injector } = define({ configure() { throw new Error('url: must be set'); } });
  assert.throws(() => injector.configure('{}'), (error) => error === 'url: must be set');
});

test('every edit reaches the host with its defaults', async () => {
  const { edits, warnings } = await inject(define({
    inject(request) {
      request.setEnv('DISCARDED', '');
      request.discardEdits();
      request.setEnv('A', 'a');
      request.setEnvFromSecret('B', { secret: 's', key: 'k' });
      request.setEnvFromPromise('C', 'p');
      request.addVolume('v', sdk.Volume.memory());
      request.mount('v', '/v');
      request.mount('v', '/w', { readOnly: false, subPath: 'x' });
      request.addInitContainer(new sdk.InitContainer('pull', 'image'));
      request.setAnnotation('a', 'b');
      request.addImagePullSecret('registry');
      request.warn('old key');
    },
  }));
  assert.deepEqual(warnings, ['old key']);
  assert.deepEqual(edits.map(([name, ...words]) => [name, ...words.map((word) => word?.calls ?? word)]), [
    ['setEnv', 'A', 'a'],
    ['setEnvFromSecret', 'B', 's', 'k', false],
    ['setEnvFromPromise', 'C', 'p'],
    ['addVolume', 'v', [['memory']]],
    ['mount', 'v', '/v', true, undefined],
    ['mount', 'v', '/w', false, 'x'],
    ['addInitContainer', [['initContainer', 'pull', 'image']]],
    ['setAnnotation', 'a', 'b', false],
    ['addImagePullSecret', 'registry'],
  ]);
});

test('the request, the pod and the conventions have properties', async () => {
  let seen;
  await inject(define({
    inject(request, pod) {
      const { group, groupVersion, key, deliverAs, envVar, allKeys, options } = request;
      const { namespace, name, serviceAccount, operatingSystem, labels, annotations, containers, initContainers } = pod;
      seen = [
        group, groupVersion, key, deliverAs, envVar, allKeys, options, namespace, name, serviceAccount, operatingSystem, labels,
        annotations, containers, initContainers, pod.label('l'), pod.annotation('a'), pod.image('c'),
        { ...sdk.conventions },
      ];
    },
  }), {
    request: { group: 'g', groupVersion: '1', key: 'k', deliverAs: 'file', envVar: 'E', options: { b: '2', a: '1' } },
    pod: { labels: { l: '1' }, annotations: { a: '2' }, containers: { c: 'image' }, initContainers: { i: 'other' } },
  });
  assert.deepEqual(seen, [
    'g', '1', 'k', 'file', 'E', false, { a: '1', b: '2' }, 'default', 'pod', '', undefined, { l: '1' }, { a: '2' }, ['c'], ['i'], '1', '2',
    'image', { profile: 'flyte-v1', envPrefix: '_FSEC_', mountDirectory: '/etc/flyte/secrets' },
  ]);
});

const failed = (kind) => `the plugin failed (${kind}); the log of the webhook has the reason`;

for (const [what, thrown, expected] of [
  ['NotFound', new sdk.NotFound('no'), { reason: 'notFound', text: 'no' }],
  ['Unsupported', new sdk.Unsupported('no'), { reason: 'unsupported', text: 'no' }],
  ['Invalid', new sdk.Invalid('no'), { reason: 'invalid', text: 'no' }],
  ['Denied', new sdk.Denied('no'), { reason: 'denied', text: 'no' }],
  ['Unavailable', new sdk.Unavailable('no'), { reason: 'unavailable', text: 'no' }],
  [
    'Unavailable with a time', new sdk.Unavailable('no', { retryAfterSeconds: 5 }),
    { reason: 'unavailable', text: 'no', retryAfterSeconds: 5 },
  ],
  ['Internal', new sdk.Internal('no'), { reason: 'internal', text: 'no' }],
  // The message of another error can contain a value.
  ['any other error', new TypeError('hush'), { reason: 'internal', text: failed('TypeError') }],
  ['a text', 'hush', { reason: 'internal', text: failed('string') }],
]) {
  test(`${what} is the reason, for edits and for values, with and without async`, async () => {
    const fails = [() => { throw thrown; }, async () => { throw thrown; }];
    for (const fail of fails) {
      const edits = (request) => { request.setEnv('A', 'a'); return fail(); };
      assert.deepEqual(await inject(define({ inject: edits })), { edits: [], warnings: [], ...expected });
      assert.deepEqual(await fetchPromise(define({ fetch: fail }), 'p'), expected);
    }
  });
}

test('a failed fetch and an unavailable Secret are unavailable', async () => {
  const text = 'the store did not answer the request; the log of the webhook has the reason';
  for (const message of ['NetworkError when attempting to fetch resource', 'fetch failed']) {
    const fetch = async () => { throw new TypeError(message); };
    assert.deepEqual(await fetchPromise(define({ fetch }), 'p'), { reason: 'unavailable', text });
    assert.equal(host.log[0], `error: TypeError: ${message}`);
    resetHost();
  }
  const fail = (tag) => () => { throw Object.assign(new Error(), { payload: { tag, val: 'Secret a/b' } }); };
  for (const [tag, reason] of [['unavailable', 'unavailable'], ['denied', 'internal'], ['not-found', 'internal']]) {
    assert.deepEqual(await fetchPromise(define({ fetch: fail(tag) }), 'p'), { reason, text: 'Secret a/b' });
  }
});

test('a segment of a URL stays a segment', () => {
  for (const [text, expected] of [['db', 'db'], ['a/b?c=d#e f', 'a%2Fb%3Fc%3Dd%23e%20f'], ['...', '...']]) {
    assert.equal(sdk.urlSegment('key', text), expected);
  }
  for (const text of ['', '.', '..']) {
    const message = `key "${text}" cannot be part of a URL: it must not be empty, \`.\` or \`..\``;
    assert.throws(() => sdk.urlSegment('key', text), { name: 'Invalid', message });
  }
});

test('a value of a wrong type is named without the value', async () => {
  for (const [found, kind] of [
    [undefined, 'undefined'], [null, 'null'], [5, 'number'], [{ secret: 'hush' }, 'an object with the keys ["secret"]'],
  ]) {
    const text = `fetch must return a string, a Uint8Array or an object with value, not ${kind}`;
    assert.deepEqual(await fetchPromise(define({ fetch: () => found }), 'p'), { reason: 'internal', text });
  }
});

test('an argument of a wrong type is named', async () => {
  const plugin = define({ inject: (request) => request.setEnvFromSecret('X', { secret: 'a', keyy: 'b' }) });
  assert.equal((await inject(plugin)).text, failed('TypeError'));
  assert.equal(host.log[0], 'error: TypeError: key must be a string, not undefined');
});

test('the stack of an error is logged line by line', async () => {
  await inject(define({ inject() { null.field; } }));
  assert.match(host.log[0], /^error: TypeError: /);
  assert.match(host.log[1], /^error: +at .*plugin\.test\.js/);
  assert.ok(host.log.every((line) => !line.includes('\n')));
});

test('the log begins with the message if the stack lacks it', async () => {
  const error = Object.assign(new Error('no'), { stack: 'inject@plugin.js:1:2\n' });
  await inject(define({ inject() { throw error; } }));
  assert.deepEqual(host.log, ['error: Error: no', 'error: inject@plugin.js:1:2']);
});

test('a reason is not logged', async () => {
  await inject(define({ inject() { throw new sdk.Denied('no'); } }));
  assert.deepEqual(host.log, []);
});

test('a rejected edit is invalid', async () => {
  const answer = await inject(define({ inject: (request) => request.setEnv('A=B', '') }));
  assert.deepEqual(answer, { edits: [], warnings: [], reason: 'invalid', text: 'A=B is not a name of a variable' });
});

test('a value is a text, bytes, or an object with its version and lifetime', async () => {
  for (const [found, expected] of [
    ['v', { value: 'v' }],
    [new TextEncoder().encode('v'), { value: 'v' }],
    [runInNewContext('new Uint8Array([118])'), { value: 'v' }],
    [{ value: 'v', version: '7', expiresInSeconds: 60 }, { value: 'v', version: '7', expiresInSeconds: 60 }],
  ]) {
    assert.deepEqual(await fetchPromise(define({ fetch: () => found }), 'p'), expected);
  }
});

test('fetch receives the promise and the settings', async () => {
  const plugin = define({ fetch: async (promise, { url }) => `${url}/${promise}` });
  assert.deepEqual(await fetchPromise(plugin, 'p', { settings: { url: 'u' } }), { value: 'u/p' });
});

test('a promise without fetch is internal', async () => {
  const { reason, text } = await fetchPromise(define({}), 'p');
  assert.deepEqual([reason, text], ['internal', 'the plugin has no function fetch']);
});

test('a check reports its error as a text', async () => {
  assert.equal(define({}).lifecycle.check(), undefined);
  const refused = (error) => error === 'login failed';
  const fail = () => { throw new Error('login failed'); };
  assert.throws(() => define({ check: fail }).lifecycle.check(), refused);
  await assert.rejects(define({ check: async () => fail() }).lifecycle.check(), refused);
});

test('a plugin uses the variables and Secrets of the fake host', async () => {
  host.environment.TOKEN = 't';
  host.secrets['store/token/value'] = 's';
  const fetch = (promise) => {
    if (promise === 'variable') return Object.fromEntries(getEnvironment()).TOKEN;
    return read('store', 'token', promise);
  };
  assert.deepEqual(await fetchPromise(define({ fetch }), 'variable'), { value: 't' });
  assert.deepEqual(await fetchPromise(define({ fetch }), 'value'), { value: 's' });
  const keys = ['other', 'value'].map((key) => ({ namespace: 'store', name: 'token', key }));
  assert.equal(firstExisting(keys), 1);
  assert.equal(firstExisting(keys.slice(0, 1)), undefined);
  const missing = 'Secret store/token does not exist or has no key other';
  assert.deepEqual(await fetchPromise(define({ fetch }), 'other'), { reason: 'internal', text: missing });
});
