/**
 * `npm run check`: everything about the sources that can be checked without running them. One line a step with its
 * time; what a step has to say comes below it when it fails. Exits with 1 when any step fails.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { checkImports, readSources } from './import-rules.ts';

interface Outcome {
  readonly ok: boolean;
  readonly output: string;
}

interface Step {
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

const root = path.dirname(import.meta.dirname);

/** Runs a program of node_modules/.bin, or a script with this Node. */
function command(program: string, ...args: string[]): () => Promise<Outcome> {
  const file = program === 'node' ? process.execPath : path.join(root, 'node_modules', '.bin', program);
  return () =>
    new Promise((resolve) => {
      const bin = path.join(root, 'node_modules', '.bin');
      const child = spawn(file, args, {
        cwd: root,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}` },
      });
      let output = '';
      const take = (chunk: Buffer) => {
        output += chunk.toString('utf8');
      };
      child.stdout.on('data', take);
      child.stderr.on('data', take);
      child.on('error', (error) => resolve({ ok: false, output: error.message }));
      child.on('close', (code) => resolve({ ok: code === 0, output }));
    });
}

async function importRules(): Promise<Outcome> {
  const files = readSources(root);
  const violations = checkImports(files);
  const output = violations.map(({ file, line, message }) => `${file}:${line} ${message}\n`).join('');
  return { ok: violations.length === 0, output };
}

const STEPS: readonly Step[] = [
  { name: 'format and lint', run: command('biome', 'ci', '--colors=off', '.') },
  { name: 'types', run: command('tsc', '--project', root, '--noEmit') },
  { name: 'import rules', run: importRules },
  { name: 'dead code', run: command('knip', '--no-progress') },
  { name: 'generated files', run: command('node', path.join(root, 'scripts', 'generate.ts'), '--check') },
];

let failed = 0;
for (const step of STEPS) {
  const start = performance.now();
  const { ok, output } = await step.run();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${step.name.padEnd(16)} ${seconds.padStart(5)} s\n`);
  if (ok) continue;
  failed += 1;
  process.stdout.write(`${output.trimEnd()}\n`);
}
if (failed > 0) process.exitCode = 1;
