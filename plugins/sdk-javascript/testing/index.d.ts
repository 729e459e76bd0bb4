import type { Delivery, Plugin } from '../index.js';

export interface FakeRequest {
  group?: string;
  groupVersion?: string;
  key?: string;
  deliverAs?: Delivery;
  envVar?: string;
  allKeys?: boolean;
  options?: Record<string, string>;
}

export interface FakePod {
  namespace?: string;
  name?: string;
  serviceAccount?: string;
  operatingSystem?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** The image of each container. */
  containers?: Record<string, string | undefined>;
  initContainers?: Record<string, string | undefined>;
}

export interface Reason {
  reason?: 'notFound' | 'unsupported' | 'invalid' | 'denied' | 'unavailable' | 'internal';
  text?: string;
  retryAfterSeconds?: number;
}

/** Each edit is the name of the method and its arguments. */
export interface Answer extends Reason {
  edits: [string, ...unknown[]][];
  warnings: string[];
}

export function inject(
  plugin: Plugin,
  options?: { settings?: object; request?: FakeRequest; pod?: FakePod },
): Promise<Answer>;

export function fetchPromise(
  plugin: Plugin,
  text: string,
  options?: { settings?: object },
): Promise<Reason & { value?: string; version?: string; expiresInSeconds?: number }>;

/** The data of the fake host. */
export const host: {
  conventions: { profile: string; envPrefix: string; mountDirectory: string };
  log: string[];
  cache: Map<string, Uint8Array>;
  secrets: Record<string, string>;
  environment: Record<string, string>;
};

export function resetHost(): void;
