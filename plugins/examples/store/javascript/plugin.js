// A secret backend in JavaScript: sets environment variables with values that it fetches from a
// store over HTTPS. The webhook adds the credential of the store to the requests.
//
// `sdk/index.d.ts` documents the SDK, and `wit/` the contract.

import {
  conventions, definePlugin, Internal, NotFound, Unavailable, Unsupported, urlSegment,
} from './sdk/index.js';

export const { injector, fetcher, lifecycle } = definePlugin({
  name: 'example-plugin',
  version: '0.1.0',
  deliveries: ['env-var'],
  settingsSchema: {
    type: 'object',
    properties: { url: { type: 'string' } },
    required: ['url'],
    additionalProperties: false,
  },

  configure({ url, ...others }) {
    const [other] = Object.keys(others);
    if (other) throw new Error(`${other}: unknown setting, expected url`);
    if (typeof url !== 'string' || !url.startsWith('https://')) throw new Error('url: must begin with https://');
    return { url };
  },

  // Decides. A promise names the secret in the store, and is no secret.
  inject(request) {
    if (request.deliverAs === 'file') throw new Unsupported('files are not supported, only environment variables');
    const promise = `${urlSegment('group', request.group)}/${urlSegment('key', request.key)}`;
    request.setEnvFromPromise(request.envVar ?? conventions.envPrefix + request.key.toUpperCase(), promise);
  },

  // Fetches the value of a promise. A request without an answer is `Unavailable`.
  async fetch(promise, { url }) {
    const response = await fetch(`${url}/${promise}`);
    if (response.status === 404) throw new NotFound(`the store has no secret ${promise}`);
    if ([401, 403].includes(response.status)) throw new Internal('the store refuses the credential of the webhook');
    if (response.status !== 200) {
      const retryAfterSeconds = Number(response.headers.get('retry-after')) || undefined;
      throw new Unavailable(`the store answers with status ${response.status}`, { retryAfterSeconds });
    }
    return await response.text();
  },
});
