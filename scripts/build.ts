/**
 * `npm run build`: the JavaScript and the declarations of an installed package, in dist/. A package needs them, since
 * Node.js runs no TypeScript below node_modules; a checkout does not, but its daemons take a quarter less memory with
 * them (bin/shoal).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, utimesSync } from 'node:fs';
import path from 'node:path';

const root = path.dirname(import.meta.dirname);
const dist = path.join(root, 'dist');

// bin/shoal runs a build as soon as it is there: it comes into its place whole.
const making = path.join(root, 'dist.making');
const start = new Date();

for (const directory of [dist, making]) rmSync(directory, { recursive: true, force: true });
const tsc = path.join(root, 'node_modules', '.bin', 'tsc');
const argv = ['--project', path.join(root, 'tsconfig.build.json'), '--outDir', making];
const built = spawnSync(tsc, argv, { stdio: 'inherit' });
// What package.json and bin/shoal name; a build without one of them would install and then not start.
const missing = ['daemon/index.js', 'daemon/index.d.ts', 'daemon/main.js', 'daemon/cli/main.js'].filter(
  (file) => !existsSync(path.join(making, file)),
);
if (built.status !== 0 || missing.length > 0) {
  if (built.error) process.stderr.write(`${built.error.message}\n`);
  if (missing.length > 0) process.stderr.write(`the build lacks ${missing.join(', ')}\n`);
  rmSync(making, { recursive: true, force: true });
  process.exitCode = 1;
} else {
  // As old as the sources that it was made of: what was changed meanwhile is newer.
  utimesSync(path.join(making, 'daemon/cli/main.js'), start, start);
  renameSync(making, dist);
}
