#!/usr/bin/env node
/**
 * Runs the production cores under virtual time, network and disk:
 *   node scripts/simulate.ts --nodes 20 --seed 1 --scenario mixed [--json]
 * The same arguments give the same trace, bit for bit. Exit 1 when an invariant fails, 2 on wrong usage.
 */
import { parseArgs } from 'node:util';
import { replayCommand, simulate } from '../test/sim/simulate.ts';

const USAGE = 'usage: simulate --nodes N --seed S --scenario NAME [--json]';

function main(): number {
  let report: ReturnType<typeof simulate>;
  let isJson: boolean;
  try {
    const { values } = parseArgs({
      options: {
        nodes: { type: 'string', default: '20' },
        seed: { type: 'string', default: '1' },
        scenario: { type: 'string', default: 'mixed' },
        json: { type: 'boolean', default: false },
      },
    });
    isJson = values.json;
    const seed = Number(values.seed);
    if (!Number.isSafeInteger(seed)) throw new RangeError('--seed is a whole number');
    report = simulate({ nodes_count: Number(values.nodes), seed, scenario: values.scenario });
  } catch (error) {
    const isUsage = error instanceof RangeError || (error instanceof Error && 'code' in error);
    if (!isUsage) throw error;
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  if (isJson) console.log(JSON.stringify(report));
  else {
    for (const [name, value] of Object.entries(report)) {
      if (name !== 'violations')
        console.log(`${name.padEnd(20)} ${Array.isArray(value) ? value.join(' ') : value}`);
    }
  }
  for (const violation of report.violations) console.error(violation);
  if (report.violations.length === 0) return 0;
  console.error(`${report.violations.length} violations; again: ${replayCommand(report)}`);
  return 1;
}

process.exitCode = main();
