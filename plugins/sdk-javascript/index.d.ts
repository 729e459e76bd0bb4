// The folder `wit/` documents every method of the contract.

export type Delivery = 'any' | 'env-var' | 'file';

/** A plugin. Every function may be `async`. */
export interface PluginDefinition<Settings> {
  /** The name of the backend, such as `k8s`. */
  name: string;
  /** The version of the plugin. */
  version: string;
  /** The supported deliveries. */
  deliveries?: Exclude<Delivery, 'any'>[];
  /** Whether the plugin looks nothing up, and therefore injects every request with a group and a key. */
  servesAll?: boolean;
  /** The JSON Schema of the settings. */
  settingsSchema?: object;
  /** Checks the settings, and returns those that the other functions receive. Without a return value, they receive
   *  the settings of the configuration. An error rejects the plugin at load. */
  configure?(settings: Record<string, unknown>): Settings | void;
  /** Answers a request with edits, or throws the reason. */
  inject(request: Request, pod: Pod, settings: Settings): void | Promise<void>;
  /** Returns the value of a promise of the request, or throws the reason. */
  fetch?(promise: string, settings: Settings): FetchedValue | Promise<FetchedValue>;
  /** Throws an error if the configuration does not work, for example if a login fails. */
  check?(settings: Settings): void | Promise<void>;
}

/** The exports of the component: `export const { injector, fetcher, lifecycle } = definePlugin({ … })`. */
export interface Plugin {
  injector: object;
  fetcher: object;
  lifecycle: object;
}

export function definePlugin<Settings = any>(definition: PluginDefinition<Settings>): Plugin;

export type FetchedValue =
  | string
  | Uint8Array
  | { value: string | Uint8Array; version?: string; expiresInSeconds?: number };

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly operatingSystem: string | undefined;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
  readonly containers: string[];
  readonly initContainers: string[];
  label(key: string): string | undefined;
  annotation(key: string): string | undefined;
  image(container: string): string | undefined;
}

/** A requested secret. An edit that is not valid throws `Invalid`. */
export interface Request {
  readonly group: string;
  readonly groupVersion: string;
  readonly key: string;
  readonly deliverAs: Delivery;
  readonly envVar: string | undefined;
  /** Whether the pod requests every key of the group. Answer with a volume of the whole Secret, or a promised file. */
  readonly allKeys: boolean;
  /** The options that the pod's author wrote for the plugin. A request with options fails if this is not read. */
  readonly options: Readonly<Record<string, string>>;
  setEnv(name: string, value: string): void;
  setEnvFromSecret(name: string, source: { secret: string; key: string; optional?: boolean }): void;
  setEnvFromPromise(name: string, promise: string): void;
  /** Writes a file, which every user may read without `mode`. */
  writeFileFromSecret(
    path: string,
    source: { secret: string; key: string; mode?: number; optional?: boolean },
  ): void;
  /** Writes a file, which every user may read without `mode`. */
  writeFileFromPromise(path: string, promise: string, options?: { mode?: number }): void;
  pullSecretFromPromise(promise: string): void;
  addVolume(name: string, volume: Volume): void;
  /** Mounts a volume, read-only by default. */
  mount(volume: string, path: string, options?: { readOnly?: boolean; subPath?: string }): void;
  addInitContainer(container: InitContainer): void;
  setAnnotation(key: string, value: string, options?: { mustOwn?: boolean }): void;
  addImagePullSecret(name: string): void;
  discardEdits(): void;
  warn(text: string): void;
}

export class Volume {
  static secret(name: string): Volume;
  static memory(): Volume;
  static csi(driver: string): Volume;
  static serviceAccountToken(path: string): Volume;
  static json(source: string): Volume;
  item(key: string, path: string): void;
  optional(): void;
  sizeLimit(quantity: string): void;
  attribute(key: string, value: string): void;
  nodePublishSecret(name: string): void;
  writable(): void;
  audience(audience: string): void;
  expiration(seconds: number): void;
}

export class InitContainer {
  constructor(name: string, image: string);
  command(words: string[]): void;
  args(words: string[]): void;
  env(name: string, value: string): void;
  envFromSecret(name: string, secret: string, key: string, optional: boolean): void;
  mount(volume: string, path: string, readOnly: boolean): void;
  resources(requests: [string, string][], limits: [string, string][]): void;
  restricted(): void;
  runAsUser(user: number): void;
  runAsGroup(group: number): void;
  readOnlyRootFilesystem(): void;
  position(position: 'first' | 'last'): void;
  mergeJson(source: string): void;
}

/** The conventions of the webhook, available in every function of the plugin. */
export const conventions: {
  readonly profile: string;
  readonly envPrefix: string;
  readonly mountDirectory: string;
};

/** Encodes a text of a pod, such as `request.key`, for one segment of a path. Without it, a pod's author
 *  could choose another path of the store with `..`, `/`, `?` or `#`. `Invalid` contains `what`. */
export function urlSegment(what: string, text: string): string;

/** Writes a line to the log of the host. */
export function log(level: 'debug' | 'info' | 'warn' | 'error', message: string): void;

/**
 * A reason; the pod's author sees its text. A failed `fetch` is `unavailable`. Any other error becomes
 * `internal` with a fixed text, since its message can contain a value. Its message and stack are logged.
 */
export abstract class Refusal extends Error {}
/** The backend does not have this secret. */
export class NotFound extends Refusal {}
/** The backend does not support this delivery. */
export class Unsupported extends Refusal {}
/** The request is not valid for this backend. */
export class Invalid extends Refusal {}
/** The pod must not have this secret. */
export class Denied extends Refusal {}
/** The plugin itself failed. */
export class Internal extends Refusal {}
/** The backend does not answer at present. */
export class Unavailable extends Refusal {
  constructor(text: string, options?: { retryAfterSeconds?: number; cause?: unknown });
  readonly retryAfterSeconds?: number;
}

// Each of these modules exists if `wit/world.wit` imports it.

declare module 'ampoule:injector/cache@0.2.0' {
  export function get(key: string): Uint8Array | undefined;
  export function set(key: string, value: Uint8Array, ttlSeconds: number): void;
}

declare module 'ampoule:injector/kubernetes-secrets@0.2.0' {
  /** Throws an error whose `payload.tag` is `denied`, `not-found` or `unavailable`. */
  export function read(namespace: string, name: string, key: string): Uint8Array;
  export function exists(namespace: string, name: string, key: string): boolean;
  /** The position of the first key that exists. The host asks for up to four at the same time. */
  export function firstExisting(keys: { namespace: string; name: string; key: string }[]): number | undefined;
}

declare module 'wasi:cli/environment@0.2.0' {
  export function getEnvironment(): [string, string][];
}
