// A secret backend in JavaScript: sets an environment variable from a Kubernetes Secret with a name
// prefix.
//
// `wit/` documents every method. In JavaScript, names are in camel case, an absent option is
// undefined, and an error is thrown.

import { envPrefix } from 'ampoule:injector/conventions@0.2.0';
import { log } from 'ampoule:injector/log@0.2.0';

// Set by `configure`, read by `inject`. The host drops an instance after one pod.
let secretPrefix = '';

export const injector = {
  describe() {
    const properties = { secretPrefix: { type: 'string' } };
    const settingsSchema = { type: 'object', properties, additionalProperties: false };
    return JSON.stringify({ name: 'example-plugin', version: '0.1.0', deliveries: ['env-var'], settingsSchema });
  },

  configure(settings) {
    for (const [key, value] of Object.entries(JSON.parse(settings))) {
      if (key !== 'secretPrefix') throw `${key}: unknown setting, expected secretPrefix`;
      if (typeof value !== 'string') throw 'secretPrefix: must be a string';
      secretPrefix = value;
    }
  },

  inject(pod, request) {
    const [group, key] = [request.group(), request.key()];
    if (group === '' || key === '') return request.invalid('group and key must both be set');
    if (request.deliverAs() === 'file') {
      return request.unsupported('files are not supported, only environment variables');
    }
    const secret = secretPrefix + group;
    // For the plugin's author. Never log the value of a secret.
    log('debug', `sets a variable from Secret ${secret}`);
    try {
      request.setEnvFromSecret(request.envVar() ?? envPrefix() + key.toUpperCase(), secret, key, false);
    } catch (error) {
      request.invalid(error.payload);
    }
  },
};
