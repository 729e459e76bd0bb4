import { fail, host } from '../host.js';

export const exists = (namespace, name, key) => `${namespace}/${name}/${key}` in host.secrets;

export function firstExisting(keys) {
  const position = keys.findIndex(({ namespace, name, key }) => exists(namespace, name, key));
  return position < 0 ? undefined : position;
}

export function read(namespace, name, key) {
  if (exists(namespace, name, key)) return new TextEncoder().encode(host.secrets[`${namespace}/${name}/${key}`]);
  return fail({ tag: 'not-found', val: `Secret ${namespace}/${name} does not exist or has no key ${key}` });
}
