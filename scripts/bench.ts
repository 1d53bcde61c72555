#!/usr/bin/env node
/**
 * Runs one benchmark and shows its lines. scripts/bench is how it is started: that gets ready what is needed. Lines go
 * to stdout, everything else to stderr. What a benchmark is, is in bench-parts/.
 */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import type { Bench } from './bench-parts/bench.ts';
import { idleBench } from './bench-parts/hosts/idle-bench.ts';
import { joinBench } from './bench-parts/hosts/join-bench.ts';
import { membershipBench } from './bench-parts/hosts/membership-bench.ts';
import { ledgerBench } from './bench-parts/ledger/ledger-bench.ts';
import { jsonText, type Line, tableText } from './bench-parts/result.ts';

const BENCHES: readonly Bench[] = [ledgerBench, membershipBench, idleBench, joinBench];
const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;
const ROUNDS_DEFAULT = 3;
const REST_S_DEFAULT = 60;

function note(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function listText(): string {
  const width = Math.max(...BENCHES.map(({ name }) => name.length));
  return BENCHES.map(({ name, about }) => `${name.padEnd(width)}  ${about}\n`).join('');
}

/** A whole number of at least 1. @throws Error */
function countOf(text: string | undefined, fallback: number, flag: string): number {
  const count = text === undefined ? fallback : Number(text);
  if (!Number.isInteger(count) || count < 1) throw new Error(`${flag} takes a whole number of at least 1`);
  return count;
}

async function run(
  bench: Bench,
  options: { json: boolean; rounds: number; rest_ms: number },
): Promise<number> {
  const reason = await bench.whyNot();
  if (reason !== null) {
    note(`${bench.name} cannot run here: ${reason}`);
    return EXIT.failed;
  }
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
  }
  const load = loadavg()[0]!.toFixed(2);
  note(`${cpus().length} cores (${cpus()[0]?.model.trim()}), Node.js ${process.version}, load ${load}`);
  const lines: Line[] = [];
  try {
    for await (const line of bench.run({ ...options, signal: interrupted.signal, say: note })) {
      if (options.json) process.stdout.write(`${jsonText(line)}\n`);
      lines.push(line);
    }
  } catch (error) {
    if (interrupted.signal.aborted) {
      note('interrupted; what was made is taken away');
      return EXIT.interrupted;
    }
    note(`${bench.name} failed: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT.failed;
  } finally {
    // What was measured before a failure holds all the same.
    if (!options.json && lines.length > 0) process.stdout.write(`${tableText(lines)}\n`);
  }
  return EXIT.ok;
}

async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      rest: { type: 'string' },
    },
  });
  if (positionals.length === 0) {
    process.stdout.write(listText());
    return EXIT.ok;
  }
  const bench = BENCHES.find(({ name }) => name === positionals[0]);
  if (bench === undefined || positionals.length > 1) throw new Error('name one of the benchmarks:');
  return await run(bench, {
    json: values.json,
    rounds: countOf(values.rounds, ROUNDS_DEFAULT, '--rounds'),
    rest_ms: countOf(values.rest, REST_S_DEFAULT, '--rest') * 1000,
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  note(error instanceof Error ? error.message : String(error));
  process.stderr.write(listText());
  process.exitCode = EXIT.usage;
}
