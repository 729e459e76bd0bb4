// A secret backend in JavaScript: a variable from a Kubernetes Secret whose name has a prefix.
//
// `wit/types.wit` says what every record and edit means. Names are in camel case here, a variant is { tag, val }, an absent
// option is undefined, and an error is thrown.

import { log } from 'ampoule:injector/log@0.1.0';

// What `configure` leaves for `inject`. An instance answers one pod, and is gone after it.
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
      if (key !== 'secretPrefix') throw `${key}: is no setting; there is secretPrefix`;
      if (typeof value !== 'string') throw 'secretPrefix: must be text';
      secretPrefix = value;
    }
    envPrefix = conventions.envPrefix;
  },

  inject({ group, key, mount, envVar }, pod) {
    if (group === '' || key === '') throw { tag: 'invalid-request', val: 'group and key must both be set' };
    if (mount === 'file') throw { tag: 'unsupported', val: 'only environment variables, no files' };
    const secret = secretPrefix + group;
    // For the admin; never a secret's value.
    log('debug', `a variable from Secret ${secret}`);
    const source = { tag: 'secret-key', val: { name: secret, key, optional: false } };
    return [{ tag: 'set-env', val: { name: envVar ?? envPrefix + key.toUpperCase(), source } }];
  },
};
