import { host } from '../host.js';

export const profile = () => host.conventions.profile;
export const envPrefix = () => host.conventions.envPrefix;
export const mountDirectory = () => host.conventions.mountDirectory;
