/** Clusters of ledger machines for tests: real keys from fixed seeds, a hand-driven clock, messages as a list. */
import { nodeCrypto, signerFromSeed } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { KeyId } from '../../../protocols/base/ids.ts';
import { firstPart, type GrantBody, type RevokeBody, recordKey } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import {
  COLLECT_TIMER,
  type LedgerInit,
  LedgerMachine,
  sealGenesis,
} from '../../../protocols/ledger/machine.ts';
import { authorHash, placeOf } from '../../../protocols/ledger/place.ts';
import { type LedgerRecord, type RecordHeader, sealRecord } from '../../../protocols/ledger/record.ts';

export const NOW = 1_800_000_000_000;

export function testSigner(number: number): Signer {
  return signerFromSeed(testSeed(number));
}

/** In hex it is what a file of an operator's key holds. */
export function testSeed(number: number): Buffer {
  const seed = Buffer.alloc(32);
  seed.writeUInt32BE(number + 1);
  return seed;
}

export const operator = testSigner(1000);

export const genesis: LedgerRecord = sealGenesis(
  { name: 'test', operators: [operator.id], range: '10.210.0.0/16', nonce: '00'.repeat(16) },
  operator,
  nodeCrypto,
  NOW,
);

/** All hold what the others have had for long: what is agreed on is acted on at once. */
export const CAUGHT_UP = { caughtUp_ms: 0 } as const;

export function env(now = NOW) {
  return { now, random: () => 0.5 };
}

/** From 0 up to 1; equal seeds give equal lots. */
export function seededRandom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
}

export function newNode(signer: Signer, ...others: Signer[]): TestNode {
  return {
    signer,
    machine: newMachine({ signers: [signer, ...others] }),
  };
}

/** Of the cluster of these tests. */
export function newMachine(init: Pick<LedgerInit, 'signers'> & Partial<LedgerInit>): LedgerMachine {
  return new LedgerMachine({ genesis, crypto: nodeCrypto, config: CAUGHT_UP, ...init });
}

export function memberGrant(subject: KeyId, changes: Partial<GrantBody> = {}): GrantBody {
  return {
    subject,
    roles: ['member', 'worker', 'deployer'],
    admits: [],
    parent: null,
    notAfter_ms: null,
    uses: null,
    ...changes,
  };
}

/** The body of a tag. */
export const TAG = { digest: `sha256:${'1'.repeat(64)}` };

/** Writes and returns the record; the effects are dropped. */
export function write(
  machine: LedgerMachine,
  author: KeyId,
  recordKind: string,
  key: string,
  body: unknown,
  now = NOW,
): LedgerRecord {
  const effects = machine.handle({ kind: 'write', author, recordKind, key, body }, env(now));
  const written = effects.find((effect) => effect.kind === 'written');
  if (written === undefined) throw new Error('nothing was written');
  return written.record;
}

export interface TestNode {
  readonly signer: Signer;
  readonly machine: LedgerMachine;
}

/** `count` nodes that know one another's grants. @param workers_count the last so many of them are no deployers. */
export function cluster(count: number, workers_count = 0): TestNode[] {
  const nodes = Array.from({ length: count }, (_, number) => {
    const signer = testSigner(number);
    return number === 0 ? newNode(signer, operator) : newNode(signer);
  });
  const grants = nodes.map(({ signer }, number) =>
    write(
      nodes[0]!.machine,
      operator.id,
      'grant',
      recordKey.grant(signer.id, operator.id),
      memberGrant(signer.id, number < count - workers_count ? {} : { roles: ['member', 'worker'] }),
    ),
  );
  for (const { machine } of nodes) introduce(machine, grants);
  return nodes;
}

export function introduce(
  machine: LedgerMachine,
  records: readonly LedgerRecord[],
  now = NOW,
): LedgerEffect[] {
  return machine.handle({ kind: 'introduce', envelopes: records.map((record) => record.bytes) }, env(now));
}

export function rejections(effects: readonly LedgerEffect[]): string[] {
  return effects.flatMap((effect) => (effect.kind === 'rejected' ? [effect.reason] : []));
}

/** Runs anti-entropy between two nodes until neither has more to say. @returns bytes and messages that it took. */
export function exchange(
  a: TestNode,
  b: TestNode,
  now = NOW,
  random = () => 0.5,
): { bytes: number; messages: number } {
  const queue: { from: TestNode; to: TestNode; body: Uint8Array }[] = [];
  const collect = (from: TestNode, effects: readonly LedgerEffect[]) => {
    const to = from === a ? b : a;
    for (const effect of effects) if (effect.kind === 'send') queue.push({ from, to, body: effect.body });
  };
  collect(a, a.machine.handle({ kind: 'connected', peer: b.signer.id }, { now, random }));
  collect(b, b.machine.handle({ kind: 'connected', peer: a.signer.id }, { now, random }));
  const spent = { bytes: 0, messages: 0 };
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    if (spent.messages > 1000) throw new Error('anti-entropy does not end');
    spent.bytes += next.body.byteLength;
    spent.messages += 1;
    collect(
      next.to,
      next.to.machine.handle(
        { kind: 'message', from: next.from.signer.id, body: next.body },
        { now, random },
      ),
    );
  }
  a.machine.handle({ kind: 'disconnected', peer: b.signer.id }, { now, random });
  b.machine.handle({ kind: 'disconnected', peer: a.signer.id }, { now, random });
  return spent;
}

/** A grant or revocation under a number of the test's choice. Epoch 0 where none is given. */
export function sealedAct(
  cluster: string,
  author: Signer,
  kind: 'grant' | 'revoke',
  body: GrantBody | RevokeBody,
  { epoch = 0, seq, ms }: { readonly epoch?: number; readonly seq: number; readonly ms: number },
): LedgerRecord {
  const header = {
    ...{ cluster, author: author.id, epoch, seq, hlc: { ms, n: 0 } },
    ...{ kind, key: recordKey[kind](body.subject, author.id), generation: 1, context: [] },
  };
  return sealRecord(header, body, author, nodeCrypto);
}

/** Acts of any signers, numbered in the order in which they are made. */
export function numberedActs(cluster = genesis.digest) {
  let seq = 0;
  return (author: Signer, kind: 'grant' | 'revoke', body: GrantBody | RevokeBody): LedgerRecord => {
    seq += 1;
    return sealedAct(cluster, author, kind, body, { seq, ms: NOW });
  };
}

/** The record with changes, signed by the one who is given: what a member with bad intent would send. */
export function forged(record: LedgerRecord, changes: Partial<LedgerRecord>, signer: Signer): LedgerRecord {
  return sealRecord({ ...record, author: signer.id, ...changes }, record.body, signer, nodeCrypto);
}

/** A record that nobody signed, for those who only read them. */
export function unsigned(header: RecordHeader, body: unknown, digest: string): LedgerRecord {
  const [placeHigh, placeLow] = placeOf(header.kind, header.key);
  return {
    ...header,
    body,
    digest,
    isTombstone: body === null,
    bytes: new Uint8Array(),
    payload_bytes: 0,
    isOwn: firstPart(header.key) === header.author,
    words: [0, 0, 0, 0],
    placeHigh,
    placeLow,
    authorHash: authorHash(header.author),
  };
}

/** Anti-entropy between all of them, twice, so that what came last reaches the first. */
export function everybody(nodes: readonly TestNode[], now = NOW): void {
  for (let time = 0; time < 2; time += 1)
    for (const one of nodes) for (const other of nodes) if (one !== other) exchange(one, other, now);
}

/** Members that have been here: each wrote its member record. */
export function settled(count: number, workers_count = 0): TestNode[] {
  const nodes = cluster(count, workers_count);
  for (const { machine, signer } of nodes) write(machine, signer.id, 'member', signer.id, { name: 'x' });
  everybody(nodes);
  return nodes;
}

/** It looks after its tombstones. */
export function collect({ machine }: TestNode, now: number): LedgerEffect[] {
  return machine.handle({ kind: 'timer', token: COLLECT_TIMER }, env(now));
}

/** What these have acknowledged, as they hold it themselves. */
export function acksOf(...nodes: readonly TestNode[]): LedgerRecord[] {
  return nodes.flatMap(({ machine, signer }) => machine.ledger.siblings('ack', signer.id));
}

/** All look after their tombstones, and tell one another. */
export function round(nodes: readonly TestNode[], now: number): void {
  for (const node of nodes) collect(node, now);
  everybody(nodes, now);
}
