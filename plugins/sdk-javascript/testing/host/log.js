import { host } from '../host.js';

export const log = (level, message) => { host.log.push(`${level}: ${message}`); };
