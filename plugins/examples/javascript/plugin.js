// A secret backend in JavaScript: sets an environment variable from a Kubernetes Secret with a name
// prefix.
//
// `wit/types.wit` documents every record and edit. In JavaScript, names are in camel case, a
// variant is { tag, val }, an absent option is undefined, and an error is thrown.

import { log } from 'ampoule:injector/log@0.1.0';

// Set by `configure`, read by `inject`. The host drops an instance after one pod.
let secretPrefix = '';
let envPrefix = '';

export const injector = {
  describe() {
    return {
      name: 'example-plugin',
      version: '0.1.0',
      mounts: ['env-var'],
      settingsSchema: JSON.stringify({
        type: 'object',
        properties: { secretPrefix: { type: 'string' } },
        additionalProperties: false,
      }),
    };
  },

  configure(settings, conventions) {
    for (const [key, value] of Object.entries(JSON.parse(settings))) {
      if (key !== 'secretPrefix') throw `${key}: unknown setting, expected secretPrefix`;
      if (typeof value !== 'string') throw 'secretPrefix: must be a string';
      secretPrefix = value;
    }
    envPrefix = conventions.envPrefix;
  },

  inject({ group, key, mount, envVar }, pod) {
    if (group === '' || key === '') throw { tag: 'invalid-request', val: 'group and key must both be set' };
    if (mount === 'file') throw { tag: 'unsupported', val: 'files are not supported, only environment variables' };
    const secret = secretPrefix + group;
    // For the plugin's author. Never log the value of a secret.
    log('debug', `sets a variable from Secret ${secret}`);
    const source = { tag: 'secret-key', val: { name: secret, key, optional: false } };
    return [{ tag: 'set-env', val: { name: envVar ?? envPrefix + key.toUpperCase(), source } }];
  },
};
