// The data of the fake host.

const fresh = () => ({
  /** The answers of the module `conventions`. */
  conventions: { profile: 'flyte-v1', envPrefix: '_FSEC_', mountDirectory: '/etc/flyte/secrets' },
  /** The lines of the log, such as `error: text`. */
  log: [],
  /** The entries of the module `cache`. */
  cache: new Map(),
  /** The values of the module `kubernetes-secrets`, by `namespace/name/key`. */
  secrets: {},
  /** The variables of the module `environment`. */
  environment: {},
});

export const host = fresh();

export function resetHost() {
  Object.assign(host, fresh());
}

/** Throws an error of the host, as in a component. */
export function fail(payload) {
  throw Object.assign(new Error(`${payload} (see error.payload)`), { payload });
}
