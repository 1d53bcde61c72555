/**
 * `npm run build`: the JavaScript and the declarations of an installed package, in dist/. A checkout runs its sources
 * and needs no build; Node runs no TypeScript below node_modules, so that a package does.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';

const root = path.dirname(import.meta.dirname);
const dist = path.join(root, 'dist');

rmSync(dist, { recursive: true, force: true });
const tsc = path.join(root, 'node_modules', '.bin', 'tsc');
const built = spawnSync(tsc, ['--project', path.join(root, 'tsconfig.build.json')], { stdio: 'inherit' });
// What package.json and bin/shoal name; a build without one of them would install and then not start.
const missing = ['daemon/index.js', 'daemon/index.d.ts', 'daemon/main.js', 'daemon/cli/main.js'].filter(
  (file) => !existsSync(path.join(dist, file)),
);
if (built.status !== 0 || missing.length > 0) {
  if (built.error) process.stderr.write(`${built.error.message}\n`);
  if (missing.length > 0) process.stderr.write(`the build lacks ${missing.join(', ')}\n`);
  rmSync(dist, { recursive: true, force: true });
  process.exitCode = 1;
}
