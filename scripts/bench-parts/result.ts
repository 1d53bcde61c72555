/**
 * What a benchmark says: one line for each comparison, as JSON or in a table, and the arithmetic behind it.
 * Values come in rounds, ours and the peer's by turns, so that what else the machine does meets both alike.
 */

export interface Line {
  /** Such as `ledger-signed`. */
  readonly name: string;
  /** Ours: the median of the rounds, or the quantile that the name says. */
  readonly value: number;
  readonly unit: string;
  /** What it is compared with in the same run; null when there is nothing like it. */
  readonly peer: string | null;
  readonly peer_value: number | null;
  /** Ours divided by the peer's. */
  readonly ratio: number | null;
  readonly rounds: number;
  /** Values of ours that it is made of: one a round, or many. */
  readonly samples: number;
  /** Of ours. */
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** What is compared, and in what unit. */
export interface Subject {
  readonly name: string;
  readonly unit: string;
}

export interface Peer {
  readonly name: string;
  readonly values: readonly number[];
}

/** @param part 0 to 1; 0.5 is the median. Between two values it is interpolated. @throws RangeError without values. */
export function quantile(values: readonly number[], part: number): number {
  if (values.length === 0) throw new RangeError('a quantile of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * part;
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/**
 * One value of ours a round, and one of the peer's. The ratio is the median of the rounds' own ratios: a round that
 * the machine slowed down slows both. @throws RangeError when the rounds do not pair.
 */
export function compareRounds(subject: Subject, own: readonly number[], peer: Peer | null): Line {
  if (peer !== null && peer.values.length !== own.length) throw new RangeError('rounds do not pair');
  const ratio = peer && median(own.map((value, round) => value / peer.values[round]!));
  return line(subject, own, own.length, peer, median, ratio);
}

/** Many values a round, all rounds together, at one quantile: the ratio is of these, and not of the rounds' ratios. */
export function compareSamples(
  subject: Subject & { readonly quantile: number; readonly rounds: number },
  own: readonly number[],
  peer: Peer | null,
): Line {
  const at = (values: readonly number[]) => quantile(values, subject.quantile);
  return line(subject, own, subject.rounds, peer, at, peer && at(own) / at(peer.values));
}

function line(
  { name, unit }: Subject,
  own: readonly number[],
  rounds: number,
  peer: Peer | null,
  value: (values: readonly number[]) => number,
  ratio: number | null,
): Line {
  return {
    name,
    value: rounded(value(own)),
    unit,
    peer: peer?.name ?? null,
    peer_value: peer && rounded(value(peer.values)),
    // Nothing divided by nothing is no ratio, and JSON has no word for it.
    ratio: ratio !== null && Number.isFinite(ratio) ? rounded(ratio) : null,
    rounds,
    samples: own.length,
    min: rounded(Math.min(...own)),
    median: rounded(median(own)),
    max: rounded(Math.max(...own)),
  };
}

/** Four significant digits: more is noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

/** One JSON object, without the line's end. */
export function jsonText(line: Line): string {
  return JSON.stringify(line);
}

const HEAD = [
  'name',
  'value',
  'unit',
  'peer',
  'peer value',
  'ratio',
  'rounds',
  'samples',
  'min',
  'median',
  'max',
] as const;
/** Columns of words. */
const LEFT = new Set(['name', 'unit', 'peer']);

/** For people. */
export function tableText(lines: readonly Line[]): string {
  const rows = lines.map((one) => [
    one.name,
    numberText(one.value),
    one.unit,
    one.peer ?? '-',
    numberText(one.peer_value),
    numberText(one.ratio),
    String(one.rounds),
    String(one.samples),
    numberText(one.min),
    numberText(one.median),
    numberText(one.max),
  ]);
  const all: readonly (readonly string[])[] = [HEAD, ...rows];
  const widths = HEAD.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const texts = all.map((row) =>
    row
      .map((cell, column) =>
        LEFT.has(HEAD[column]!) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
  return [texts[0], '-'.repeat(Math.max(...texts.map((text) => text.length))), ...texts.slice(1)].join('\n');
}

function numberText(value: number | null): string {
  if (value === null) return '-';
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en-US') : String(value);
}
