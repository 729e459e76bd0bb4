// The builders record their calls, so that a test can compare them.

class Recorder {
  constructor(kind, ...words) {
    this.calls = [[kind, ...words]];
  }

  static methods(...names) {
    for (const name of names) {
      this.prototype[name] = function record(...words) { this.calls.push([name, ...words]); };
    }
  }
}

export class Volume extends Recorder {
  static secret(name) { return new Volume('secret', name); }
  static memory() { return new Volume('memory'); }
  static csi(driver) { return new Volume('csi', driver); }
  static serviceAccountToken(path) { return new Volume('serviceAccountToken', path); }
  static json(source) { return new Volume('json', source); }
}

export class InitContainer extends Recorder {
  constructor(name, image) { super('initContainer', name, image); }
}

Volume.methods('item', 'optional', 'sizeLimit', 'attribute', 'nodePublishSecret', 'writable', 'audience', 'expiration');
InitContainer.methods(
  'command', 'args', 'env', 'envFromSecret', 'mount', 'resources', 'restricted', 'runAsUser', 'runAsGroup',
  'readOnlyRootFilesystem', 'position', 'mergeJson',
);
