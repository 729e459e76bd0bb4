import { host } from '../host.js';

export const get = (key) => host.cache.get(key);
export const set = (key, value, _ttlSeconds) => { host.cache.set(key, value); };
