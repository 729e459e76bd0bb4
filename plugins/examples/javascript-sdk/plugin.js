// A secret backend in JavaScript: sets an environment variable from a Kubernetes Secret with a name
// prefix.
//
// `sdk/index.d.ts` documents the SDK, and `wit/` the contract.

import { conventions, definePlugin, Invalid, log, Unsupported } from './sdk/index.js';

export const { injector, fetcher, lifecycle } = definePlugin({
  name: 'example-plugin',
  version: '0.1.0',
  deliveries: ['env-var'],
  settingsSchema: {
    type: 'object',
    properties: { secretPrefix: { type: 'string' } },
    additionalProperties: false,
  },

  configure({ secretPrefix = '', ...others }) {
    const [other] = Object.keys(others);
    if (other) throw new Error(`${other}: unknown setting, expected secretPrefix`);
    if (typeof secretPrefix !== 'string') throw new Error('secretPrefix: must be a string');
    return { secretPrefix };
  },

  inject(request, pod, { secretPrefix }) {
    const { group, key, deliverAs, envVar } = request;
    if (group === '' || key === '') throw new Invalid('group and key must both be set');
    if (deliverAs === 'file') throw new Unsupported('files are not supported, only environment variables');
    const secret = secretPrefix + group;
    // For the plugin's author. Never log the value of a secret.
    log('debug', `sets a variable from Secret ${secret}`);
    request.setEnvFromSecret(envVar ?? conventions.envPrefix + key.toUpperCase(), { secret, key });
  },
});
