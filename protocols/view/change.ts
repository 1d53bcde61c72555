/**
 * What a record changed, told in one line: who, what and how it differs from before. Pure: reads two records.
 *
 * Only records of the kinds in change-kinds.ts are changes, and of members only those that come or differ.
 * Values of the environment and of commands are never shown: they may be secrets.
 *
 * Not here: keeping what was seen (daemon/history) and names of nodes, which change.
 */

import type { ChangeKind } from '../base/change-kinds.ts';
import type { Hlc } from '../base/clock.ts';
import type { KeyId } from '../base/ids.ts';
import type { BodyOf, RecordKind, WorkloadBody } from '../base/records.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import { bodyOf } from './bodies.ts';

export const CHANGE_ACTIONS = ['created', 'updated', 'deleted'] as const;
export type ChangeAction = (typeof CHANGE_ACTIONS)[number];

/** Longest summary; a longer one is cut and ends with "…". */
export const SUMMARY_LENGTH_MAX = 240;
/** Hex digits by which a digest is told. */
const DIGEST_SHOWN = 12;

export interface Change {
  /** Of the record, hex. */
  readonly digest: string;
  readonly kind: string;
  readonly key: string;
  readonly generation: number;
  readonly author: KeyId;
  /** The author's clock. */
  readonly stamp: Hlc;
  readonly action: ChangeAction;
  /** The key or node that it is about, when it is about one. */
  readonly subject: KeyId | null;
  readonly summary: string;
  /** Other versions of the key that stand beside it: writes that did not know of each other. */
  readonly concurrent: number;
}

interface Teller {
  readonly subject: (record: LedgerRecord) => KeyId | null;
  /** What it says now. */
  readonly state: (record: LedgerRecord) => string | undefined;
  /** How it differs, field by field; empty when nothing worth telling does. */
  readonly differences: (now: LedgerRecord, before: LedgerRecord) => readonly string[];
  /** Written again with nothing different, it is no change: nodes do that by themselves. */
  readonly equalIsSilent: boolean;
}

/**
 * @param before what it replaced here; undefined when it is the first of its key that this node has seen.
 * @param siblings all live versions of its key, itself among them. Asked only where that can be few: of grants of one key
 * there may be any number.
 * @returns undefined when it is none of the kinds above, cannot be read, or changed nothing worth telling.
 */
export function describeChange(
  record: LedgerRecord,
  before: LedgerRecord | undefined,
  siblings: () => readonly LedgerRecord[],
): Change | undefined {
  const teller = TELLERS.get(record.kind);
  const told = teller && tell(teller, record, before);
  if (teller === undefined || told === undefined) return undefined;
  const { digest, kind, key, generation, author, hlc } = record;
  return {
    digest,
    kind,
    key,
    generation,
    author,
    stamp: hlc,
    action: told.action,
    subject: teller.subject(record),
    summary: cut(told.summary),
    concurrent: GROW_ONLY.has(kind) ? 0 : siblings().filter((other) => other.digest !== digest).length,
  };
}

/** Is there ever anything to tell of this kind? Most records are of kinds of which there is not. */
export function isTold(kind: string): boolean {
  return TELLERS.has(kind);
}

/** How a workload differs from another version of it; empty when it does not. */
export function workloadDifference(now: WorkloadBody, from: WorkloadBody): string {
  return cut(workloadDifferences(now, from).join(', '));
}

function tell(
  teller: Teller,
  record: LedgerRecord,
  before: LedgerRecord | undefined,
): { action: ChangeAction; summary: string } | undefined {
  if (record.isTombstone) {
    const was = before === undefined || before.isTombstone ? undefined : teller.state(before);
    return { action: 'deleted', summary: was === undefined ? '' : `was ${was}` };
  }
  const state = teller.state(record);
  if (state === undefined) return undefined;
  if (before === undefined || before.isTombstone) {
    // Earlier generations that never came here: what it says now is all that can be told.
    const first = record.generation === 1 || before !== undefined || GROW_ONLY.has(record.kind);
    return { action: first ? 'created' : 'updated', summary: state };
  }
  const differences = teller.differences(record, before);
  if (differences.length === 0 && teller.equalIsSilent) return undefined;
  return { action: 'updated', summary: differences.join(', ') || 'the same again' };
}

/** Of these a record replaces nothing: others of its key are no other versions of it. */
const GROW_ONLY: ReadonlySet<string> = new Set(['grant', 'revoke', 'evidence']);

function reading<K extends RecordKind>(
  kind: K,
  state: (body: BodyOf<K>, record: LedgerRecord) => string,
  differences: (now: BodyOf<K>, before: BodyOf<K>) => readonly string[] = () => [],
  subject: (body: BodyOf<K> | undefined, record: LedgerRecord) => KeyId | null = () => null,
): Teller {
  return {
    equalIsSilent: kind !== 'workload',
    subject: (record) => subject(bodyOf(kind, record), record),
    state: (record) => {
      const body = bodyOf(kind, record);
      return body && state(body, record);
    },
    differences: (now, before) => {
      const [a, b] = [bodyOf(kind, now), bodyOf(kind, before)];
      return a === undefined || b === undefined ? [] : differences(a, b);
    },
  };
}

const ofKey = (_body: unknown, { key }: LedgerRecord): KeyId => key;
const ofBody = (body: { subject: KeyId } | undefined): KeyId | null => body?.subject ?? null;

const TELLERS_BY_KIND: Readonly<Record<ChangeKind, Teller>> = {
  workload: reading(
    'workload',
    ({ spec, stopped }) => {
      const count = spec.kind === 'daemon' ? 'one on every node' : `replicas ${spec.replicas}`;
      return `image ${spec.image}, ${count}${stopped ? ', stopped' : ''}`;
    },
    workloadDifferences,
  ),
  tag: reading(
    'tag',
    ({ digest }) => shown(digest),
    (now, before) => change('image', shown(before.digest), shown(now.digest)),
  ),
  image: reading('image', ({ layers, platform, manifest }) => {
    return `${shown(manifest.digest)}, ${layers.length} layers, ${platform}`;
  }),
  intent: reading(
    'intent',
    ({ intent }) => intent,
    (now, before) => change('', before.intent, now.intent),
    ofKey,
  ),
  grant: reading('grant', grantText, undefined, ofBody),
  revoke: reading('revoke', ({ reason }) => (reason === '' ? 'no reason given' : reason), undefined, ofBody),
  member: reading(
    'member',
    ({ name, host, version }) => `joined as ${name} (${host}, ${version})`,
    ({ incarnation: _now, ...now }, { incarnation: _before, ...before }) => fieldDifferences(now, before),
    ofKey,
  ),
  evidence: {
    subject: ({ key }) => key.split('/')[1] ?? null,
    state: () => 'signed two records with one number: its key was copied, or it lies',
    differences: () => [],
    equalIsSilent: true,
  },
  genesis: reading('genesis', ({ name, operators }) => `cluster ${name}, operators: ${operators.length}`),
};
/** Kinds come from the network: `constructor` is none. */
const TELLERS: ReadonlyMap<string, Teller> = new Map(Object.entries(TELLERS_BY_KIND));

function workloadDifferences(now: WorkloadBody, before: WorkloadBody): string[] {
  const state = now.stopped === before.stopped ? [] : [now.stopped ? 'stopped' : 'started'];
  return [...state, ...fieldDifferences(now.spec, before.spec)];
}

function grantText({ roles, admits, notAfter_ms, uses }: BodyOf<'grant'>, { hlc }: LedgerRecord): string {
  const forTime = notAfter_ms === null ? '' : `, for ${duration(notAfter_ms - hlc.ms)}`;
  if (roles.length === 1 && roles[0] === 'admit') {
    const times = uses === null ? 'any number of hosts' : uses === 1 ? 'one host' : `${uses} hosts`;
    return `join token for ${times} as ${admits.filter((role) => role !== 'admit').join(', ')}${forTime}`;
  }
  return `${roles.join(', ')}${forTime}`;
}

/** Fields whose values may be secret: only that they differ is told. */
const HIDDEN: ReadonlySet<string> = new Set(['command']);

/** Differences of two bodies of one schema, by the names of their fields. */
function fieldDifferences(now: object, before: object, path = ''): string[] {
  const [a, b] = [before as Record<string, unknown>, now as Record<string, unknown>];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort().flatMap((field) => {
    const [from, to] = [a[field], b[field]];
    const name = path === '' ? field : `${path}.${field}`;
    if (name === 'env') return environmentDifferences((from ?? {}) as object, (to ?? {}) as object);
    if (isPlain(from) && isPlain(to)) return fieldDifferences(to, from, name);
    if (JSON.stringify(from) === JSON.stringify(to)) return [];
    if (HIDDEN.has(field) || typeof from === 'object' || typeof to === 'object') {
      if (from === null || to === null) return change(name, text(from), text(to));
      return [`${name} changed`];
    }
    return change(name, text(from), text(to));
  });
}

function environmentDifferences(before: object, now: object): string[] {
  const [a, b] = [before as Record<string, unknown>, now as Record<string, unknown>];
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  const marks = names.flatMap((name) => {
    if (a[name] === b[name]) return [];
    return [Object.hasOwn(a, name) ? (Object.hasOwn(b, name) ? `~${name}` : `-${name}`) : `+${name}`];
  });
  return marks.length === 0 ? [] : [`env ${marks.join(' ')}`];
}

function change(name: string, before: string, now: string): string[] {
  return before === now ? [] : [`${name === '' ? '' : `${name} `}${before} -> ${now}`];
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return value === undefined || value === null ? 'none' : String(value);
}

function shown(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, DIGEST_SHOWN);
}

const UNITS: readonly [string, number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
];

/** The largest unit that divides into at least one, rounded: `15m`. */
function duration(ms: number): string {
  const [unit, length] = UNITS.find(([, size]) => ms >= size) ?? ['s', 1000];
  return `${Math.max(0, Math.round(ms / length))}${unit}`;
}

function cut(summary: string): string {
  return summary.length <= SUMMARY_LENGTH_MAX ? summary : `${summary.slice(0, SUMMARY_LENGTH_MAX - 1)}…`;
}
