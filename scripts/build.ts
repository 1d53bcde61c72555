/**
 * `npm run build`: the JavaScript and the declarations of an installed package, in dist/. A package needs them, since
 * Node.js runs no TypeScript below node_modules; a checkout does not, but its daemons start in half the time and take a
 * quarter less memory with them (bin/shoal).
 *
 * The JavaScript is bundled with the libraries that it uses, without what it does not use of them: to find, read and
 * link two thousand modules one by one is most of what a start costs. What brings native code, or is loaded seldom and
 * large, is left to node_modules.
 *
 * Another directory than dist/ may be given. What is in it goes.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const root = path.dirname(import.meta.dirname);
const dist = path.resolve(process.argv[2] ?? path.join(root, 'dist'));
/**
 * What package.json, bin/shoal and the daemon's own child processes name. All in one directory, with what they share:
 * so a URL that is relative to one of them is right wherever the code that makes it comes to be.
 */
const ENTRIES = {
  index: 'daemon/index.ts',
  main: 'daemon/cli/main.ts',
  'unpack-process': 'images/unpack/unpack-process.ts',
};
const LEFT_OUT = ['webtorrent', 'msgpackr-extract'];

// bin/shoal runs a build as soon as it is there: it comes into its place whole.
const making = `${dist}.making`;
const start = new Date();

for (const directory of [dist, making]) rmSync(directory, { recursive: true, force: true });
const isBuilt = (await bundle()) && declare();
// A build without one of them would install and then not start.
const files = ['daemon/index.d.ts', ...Object.keys(ENTRIES).map((name) => `${name}.js`)];
const missing = files.filter((file) => !existsSync(path.join(making, file)));
if (!isBuilt || missing.length > 0) {
  if (missing.length > 0) process.stderr.write(`the build lacks ${missing.join(', ')}\n`);
  rmSync(making, { recursive: true, force: true });
  process.exitCode = 1;
} else {
  // As old as the sources that it was made of: what was changed meanwhile is newer.
  utimesSync(path.join(making, 'main.js'), start, start);
  renameSync(making, dist);
}

async function bundle(): Promise<boolean> {
  try {
    await build({
      absWorkingDir: root,
      entryPoints: ENTRIES,
      outdir: making,
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      // Node.js keeps the text for as long as it runs. Names stay, for whoever reads a stack.
      minifyWhitespace: true,
      external: LEFT_OUT,
      // For the CommonJS among the libraries, which shares each file's names.
      banner: {
        js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
      },
      logLevel: 'warning',
    });
    return true;
  } catch {
    // It has told why.
    return false;
  }
}

function declare(): boolean {
  const tsc = path.join(root, 'node_modules', '.bin', 'tsc');
  const argv = ['--project', path.join(root, 'tsconfig.build.json'), '--outDir', making];
  const { status, error } = spawnSync(tsc, argv, { stdio: 'inherit' });
  if (error) process.stderr.write(`${error.message}\n`);
  return status === 0;
}
