/** Parses what users type as arguments and option values. Each throws ShoalError E_USAGE and says what is right. */
import { ShoalError } from '../../protocols/base/errors.ts';
import { LABEL_PATTERN, LABEL_TEXT } from '../../protocols/base/label.ts';
import type { InstanceRef } from '../api/backend.ts';

function usage(message: string): ShoalError {
  return new ShoalError('E_USAGE', message);
}

/**
 * `web`, `web/2`, `shop/web` or `shop/web/2`: a workload, perhaps with its namespace and the index of an instance.
 * @param namespace where a name without one is looked for.
 */
export function parseReference(text: string, namespace: string): InstanceRef {
  const parts = text.split('/');
  const last = parts.at(-1) ?? '';
  const index = parts.length > 1 && /^\d{1,9}$/.test(last) ? Number(last) : undefined;
  const names = index === undefined ? parts : parts.slice(0, -1);
  const [first = '', second] = names;
  if (names.length > 2 || names.some((name) => name === '')) {
    throw usage(`"${text}" is not a workload: write NAME, NAME/INDEX or NAMESPACE/NAME/INDEX`);
  }
  const ref = second === undefined ? { namespace, name: first } : { namespace: first, name: second };
  return index === undefined ? ref : { ...ref, index };
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** What is allowed, both ends among it. */
export interface Bounds {
  readonly minimum: number;
  readonly maximum: number;
}

/** `90s`, `15m`, `500ms`, `1h`, `2d`; a bare number counts seconds. @param bounds milliseconds. @returns milliseconds */
export function parseDuration(text: string, field: string, bounds?: Bounds): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)?$/.exec(text);
  if (!match) throw usage(`${field} "${text}" is not a duration: write 90s, 15m, 1h or 2d`);
  const ms = Math.round(Number(match[1]) * (UNIT_MS[match[2] ?? 's'] ?? 1000));
  if (bounds !== undefined && !isWithin(ms, bounds))
    throw usage(`${field} "${text}" is out of bounds: it can be ${durationsText(bounds)}`);
  return ms;
}

function isWithin(value: number, { minimum, maximum }: Bounds): boolean {
  return minimum <= value && value <= maximum;
}

/** Such as `1s to 30d`. */
export function durationsText({ minimum, maximum }: Bounds): string {
  return `${durationText(minimum)} to ${durationText(maximum)}`;
}

/** In the largest unit that it is a whole number of. */
function durationText(ms: number): string {
  const units = Object.entries(UNIT_MS).reverse();
  const [unit, unit_ms] = units.find(([, size_ms]) => ms % size_ms === 0) ?? ['ms', 1];
  return `${ms / unit_ms}${unit}`;
}

/** Clocks of hosts differ by a little. */
const AHEAD_MS_MAX = 60_000;

/** A day, perhaps a time of it, perhaps its zone. */
const MOMENT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:?\d\d)?)?$/;

/**
 * A time in the past: so long ago (`90s`, `2h`, `7d`), or ISO 8601 as in `2026-01-31T12:00Z`. Without a zone it is UTC,
 * as all times that are shown. @returns milliseconds
 */
export function parseSince(text: string, field: string, now: number): number {
  // A bare number might be a year: so long ago is told with its unit.
  if (/^\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h|d)$/.test(text))
    return Math.max(0, now - parseDuration(text, field));
  const at = momentOf(text);
  if (Number.isNaN(at) || at < 0)
    throw usage(`${field} "${text}" is no time: write 2h, 7d or 2026-01-31T12:00Z`);
  if (at > now + AHEAD_MS_MAX) throw usage(`${field} "${text}" is yet to come`);
  return at;
}

/** @returns NaN for text that is no moment, or one of a day that does not exist. */
function momentOf(text: string): number {
  const [, day = '', time = '00:00', zone = 'Z'] = MOMENT.exec(text) ?? [];
  const midnight = new Date(`${day}T00:00Z`);
  // The 31st of February is read as the 3rd of March.
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(day)) return Number.NaN;
  return Date.parse(`${day}T${time}${zone}`);
}

/** Longer ones are out of bounds. */
const COUNT_BOUNDS: Bounds = { minimum: 0, maximum: 999_999_999 };

export function parseCount(text: string, field: string, bounds = COUNT_BOUNDS): number {
  if (!/^\d+$/.test(text)) throw usage(`${field} "${text}" is not a whole number`);
  const count = Number(text);
  if (!isWithin(count, bounds))
    throw usage(`${field} "${text}" is out of bounds: it can be ${bounds.minimum} to ${bounds.maximum}`);
  return count;
}

/** A name that becomes part of a DNS name. */
export function parseLabel(text: string, field: string): string {
  if (!new RegExp(LABEL_PATTERN).test(text))
    throw usage(`${field} "${text}" is no name: it takes ${LABEL_TEXT}`);
  return text;
}

/** One of a few words. */
export function parseChoice<T extends string>(text: string, field: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw usage(`${field} "${text}" is none of ${choices.join(', ')}`);
  return found;
}

/** `KEY=VALUE` */
export function parsePair(text: string, field: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`${field} "${text}" is not KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** `KEY=VALUE`, or `KEY` for the value that it has here. */
export function parseEnvironment(text: string, env: NodeJS.ProcessEnv): [string, string] {
  if (text.includes('=')) return parsePair(text, '--env');
  const value = env[text];
  if (value === undefined) throw usage(`--env ${text}: there is no such variable here; write ${text}=VALUE`);
  return [text, value];
}

/** A file of `KEY=VALUE` lines; empty lines and lines that begin with # do not count. */
export function parseEnvironmentFile(text: string, file: string): [string, string][] {
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => parsePair(line, `--env-file ${file}:`));
}

/** `http:8080`, or `8080`, which is named p8080. */
export function parsePort(text: string): { name: string; port: number } {
  const match = /^(?:([a-z0-9-]{1,63}):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match || port < 1 || port > 65_535) throw usage(`--port "${text}" is not NAME:PORT, as in http:8080`);
  return { name: match[1] ?? `p${port}`, port };
}

/** For repeatable options. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}
