// `node --import ./testing/register.js --test` replaces the modules of the host by those in
// `testing/host`.

import { register } from 'node:module';

register('./hooks.js', import.meta.url);
