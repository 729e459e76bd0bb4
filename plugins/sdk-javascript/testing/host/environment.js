import { host } from '../host.js';

export const getEnvironment = () => Object.entries(host.environment);
