const HOST = /^(?:ampoule:injector|wasi:cli)\/([a-z-]+)@0\.2\.\d+$/;

export function resolve(specifier, context, next) {
  const found = HOST.exec(specifier);
  return next(found ? new URL(`./host/${found[1]}.js`, import.meta.url).href : specifier, context);
}
