/** What calibration tells: both columns of each figure, their ratio, and what the machine did meanwhile. */
import { median } from '../bench-parts/result.ts';
import { isFull, type Load } from './machine-load.ts';
import type { Figure, Figures } from './procedure.ts';

/** A median that differs by more is marked. */
const RATIO_MAX = 2;

const FIGURES: readonly (readonly [Figure, name: string, unit: string])[] = [
  ['written_ms', 'written -> applied on all', 'ms'],
  ['killed_ms', 'killed -> all know', 'ms'],
  ['silent_ms', 'link down -> all know', 'ms'],
  ['healed_ms', 'link back -> all whole', 'ms'],
  ['rest_bytes_s', 'received at rest', 'bytes/s'],
  ['written_bytes', 'received for a write', 'bytes'],
];

interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
  /** How many values these are of. */
  readonly rounds: number;
}

export interface Row {
  readonly nodes_count: number;
  readonly name: string;
  readonly unit: string;
  readonly real: Spread;
  readonly simulated: Spread;
  /** Of the medians, real by simulated. */
  readonly ratio: number;
  readonly load: Load;
}

/** @param loadOf what the machine did while the real figure was measured. */
export function rowsOf(
  nodes_count: number,
  real: Figures,
  simulated: readonly Figures[],
  loadOf: (figure: Figure) => Load,
): Row[] {
  return FIGURES.map(([figure, name, unit]) => {
    const a = spreadOf(real[figure]);
    const b = spreadOf(simulated.flatMap((figures) => figures[figure]));
    const ratio = rounded(a.median / b.median, 2);
    return { nodes_count, name, unit, real: a, simulated: b, ratio, load: loadOf(figure) };
  });
}

function spreadOf(values: readonly number[]): Spread {
  return {
    min: rounded(Math.min(...values), 1),
    median: rounded(median(values), 1),
    max: rounded(Math.max(...values), 1),
    rounds: values.length,
  };
}

function rounded(value: number, places: number): number {
  return Math.round(value * 10 ** places) / 10 ** places;
}

const WIDTHS = [5, 26, 26, 30, 8, 8] as const;

function lineOf(cells: readonly string[]): string {
  return cells
    .map((cell, at) => cell.padEnd(WIDTHS[at] ?? 0))
    .join(' ')
    .trimEnd();
}

export function headText(): string {
  const spread = 'min median max (n)';
  return lineOf(['nodes', 'what', `real: ${spread}`, `simulated: ${spread}`, 'unit', 'ratio', 'cores']);
}

export function rowText({ nodes_count, name, unit, real, simulated, ratio, load }: Row): string {
  const text = ({ min, median, max, rounds }: Spread) =>
    `${[min, median, max].map((value) => (value >= 100 ? Math.round(value) : value)).join('  ')} (${rounds})`;
  const isFar = ratio > RATIO_MAX || ratio < 1 / RATIO_MAX;
  const cores = `${load.cores_percent} % (${load.daemons_percent})${isFull(load) ? ' FULL' : ''}`;
  const factor = `x${ratio}${isFar ? ' !' : ''}`;
  return lineOf([String(nodes_count), name, text(real), text(simulated), unit, factor, cores]);
}

export const LEGEND = `\
cores: share of all cores in use while it was measured, by all programs and (by the daemons). FULL: the machine was what
was measured, and not the protocol. !: the medians differ by more than ${RATIO_MAX} times.`;
