/**
 * Text for people: tables, sizes, ages. Pure. What comes from other hosts is shown without control characters, so
 * that a name or a reason cannot write on the terminal.
 */
import { TIME_MS_MAX } from '../../protocols/base/clock.ts';

export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

/** Columns as wide as their widest cell; the last column is not padded. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows.map((row) => row.map(printable))];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** @param bytes 0 or more. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Thousandths of a core as cores. */
export function coresText(cpu_millis: number): string {
  return String(cpu_millis / 1000);
}

/** The largest unit that fits, as in `5m`. A clock that is behind gives 0s. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** A moment in UTC, to the millisecond; what others say may be later than a date can be. */
export function exactTimeText(ms: number): string {
  return new Date(Math.min(ms, TIME_MS_MAX)).toISOString();
}

/** The same, to the second. */
export function timeText(ms: number): string {
  return `${exactTimeText(ms).slice(0, -5)}Z`;
}

/** The first twelve hex digits of a digest. */
export function shortDigest(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, 12);
}
