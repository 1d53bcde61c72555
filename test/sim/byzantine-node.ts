/**
 * Members with valid grants that do not keep to the rules. Each behaves as a member should, so that nobody is rid of
 * it for silence, and does one kind of harm besides, several times a second. Not here: what others must make of it
 * (checkers/).
 */
import type { Signer } from '../../protocols/base/crypto.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import { recordKey } from '../../protocols/base/records.ts';
import { NO_CLUSTER, type RecordHeader, sealRecord } from '../../protocols/ledger/record.ts';
import { encodeGossip } from '../../protocols/ledger/sync.ts';
import { encodeMessage } from '../../protocols/membership/messages.ts';
import { fastCrypto, fastSigner } from './fast-crypto.ts';
import { LEDGER, MEMBER, type ShoalInit, ShoalNode } from './shoal-node.ts';
import type { SimHost, Verdict } from './sim-node.ts';
import { MESSAGE_BYTES_MAX } from './transport.ts';

const ATTACK = 3;
const ATTACK_MS = 250;
/** After the start: it is a member as others are by then. */
const FIRST_ATTACK_MS = 5000;
const FLOOD_RECORDS = 10;
const TAPE_MAX = 64;
/** An epoch that it does not use otherwise. */
const FORGED_EPOCH = 7;
const HOUR_MS = 3_600_000;

export const ATTACKS = [
  'flood',
  'lie',
  'replay',
  'equivocate',
  'forge',
  'oversize',
  'malformed',
  'stamps',
  'grants',
  'slander',
] as const;
export type Attack = (typeof ATTACKS)[number];

export class ByzantineNode extends ShoalNode {
  readonly #attack: Attack;
  /** What it has sent and heard lately, to be used again. */
  readonly #tape: Uint8Array[];
  #turns_count = 0;
  #hasEnded = false;

  constructor(host: SimHost, init: ShoalInit, attack: Attack) {
    const tape: Uint8Array[] = [];
    super(attack === 'lie' || attack === 'replay' ? taped(host, tape, attack === 'lie') : host, init);
    this.#attack = attack;
    this.#tape = tape;
  }

  /** It keeps to the rules from now on. */
  desist(): void {
    this.#hasEnded = true;
  }

  override start(): void {
    super.start();
    this.host.schedule(ATTACK, 0, this.host.now() + FIRST_ATTACK_MS);
  }

  override published(from: NodeId, body: Uint8Array): Verdict {
    if (this.#attack === 'replay') remember(this.#tape, body);
    return super.published(from, body);
  }

  override timer(core: number, token: number): void {
    if (core !== ATTACK) {
      super.timer(core, token);
      return;
    }
    if (this.#hasEnded) return;
    this.#turns_count += 1;
    this.#act();
    this.host.schedule(ATTACK, 0, this.host.now() + ATTACK_MS);
  }

  #act(): void {
    const turn = this.#turns_count;
    const others = [...this.init.cluster.members.keys()].filter((id) => id !== this.host.id);
    const victim = others[Math.floor(this.host.random() * others.length)]!;
    switch (this.#attack) {
      case 'flood':
        for (let at = 0; at < FLOOD_RECORDS; at += 1) this.command(`tag:flood-${this.host.id}-${turn}-${at}`);
        break;
      case 'lie':
        this.#toAll(LEDGER, () => distorted(this.#tape, this.host.random));
        break;
      case 'replay':
        for (const body of this.#tape) this.host.publish(Uint8Array.from(body));
        this.#toAll(LEDGER, () => this.#tape[Math.floor(this.host.random() * this.#tape.length)]);
        break;
      case 'equivocate':
        // For one number two records, and each travels.
        for (const name of ['one', 'other']) this.#publish({ seq: turn }, { digest: digestOf(name) });
        break;
      case 'forge':
        this.#publish({ author: victim, key: 'forged' });
        this.#publish({ author: victim, kind: 'member', key: victim }, this.init.member);
        break;
      case 'oversize':
        this.host.publish(new Uint8Array(MESSAGE_BYTES_MAX * 2));
        this.#toAll(LEDGER, () => new Uint8Array(MESSAGE_BYTES_MAX * 2));
        this.#toAll(MEMBER, () => new Uint8Array(MESSAGE_BYTES_MAX / 8));
        break;
      case 'malformed':
        this.host.publish(noise(this.host.random));
        this.#toAll(LEDGER, () => noise(this.host.random));
        this.#toAll(MEMBER, () => noise(this.host.random));
        break;
      case 'stamps':
        this.#publish({ key: 'late', hlc: { ms: this.host.now() + HOUR_MS, n: 0 } });
        this.#publish({ key: 'early', hlc: { ms: turn, n: 0 } });
        break;
      case 'grants':
        this.#grants(victim, turn);
        break;
      case 'slander':
        this.#publish({ kind: 'verdict', key: recordKey.verdict(this.host.id, victim) }, accusation(victim));
        this.#toAll(MEMBER, () => encodeMessage({ type: 'suspect', subject: victim, incarnation: 1 }));
        break;
    }
  }

  /** Rights that it may not give, and what those would write who were given them. */
  #grants(victim: NodeId, turn: number): void {
    const stranger = fastSigner(`stranger ${turn}`);
    this.#publish(
      { kind: 'grant', key: recordKey.grant(stranger.id, this.host.id) },
      { subject: stranger.id, roles: ['operator'], admits: [], parent: null, notAfter_ms: null, uses: null },
    );
    this.#publish({ key: 'stranger', author: stranger.id }, undefined, stranger);
    this.#publish(
      { kind: 'revoke', key: recordKey.revoke(victim, this.host.id) },
      { subject: victim, epoch: 0, last: 0, reason: 'unwanted' },
    );
    this.#publish({ cluster: NO_CLUSTER, kind: 'genesis', key: 'genesis' }, { name: 'mine' });
  }

  #publish(
    header: Partial<RecordHeader>,
    body: unknown = { digest: digestOf('any') },
    signer: Signer = this.init.signers[0],
  ): void {
    const record = sealRecord(
      {
        cluster: this.ledger.cluster,
        author: this.host.id,
        epoch: FORGED_EPOCH,
        seq: this.#turns_count,
        hlc: { ms: this.host.now(), n: 0 },
        kind: 'tag',
        key: 'byzantine',
        generation: 1,
        context: [],
        ...header,
      },
      body,
      signer,
      fastCrypto,
    );
    this.host.publish(encodeGossip([record.bytes]));
  }

  #toAll(channel: number, make: () => Uint8Array | undefined): void {
    for (const peer of this.membership.connected.keys()) {
      const body = make();
      if (body !== undefined) this.host.send(peer, channel, body);
    }
  }
}

/** Keeps what the node sends to other ledgers; a liar sends some of it distorted. */
function taped(host: SimHost, tape: Uint8Array[], isLiar: boolean): SimHost {
  return {
    ...host,
    send: (to, channel, body) => {
      if (channel === LEDGER) remember(tape, body);
      const isDistorted = isLiar && tape.length > 0 && channel === LEDGER && host.random() < 0.5;
      host.send(to, channel, isDistorted ? distorted([body], host.random)! : body);
    },
  };
}

function remember(tape: Uint8Array[], body: Uint8Array): void {
  tape.push(body);
  if (tape.length > TAPE_MAX) tape.shift();
}

/** One of them with a few bytes changed, so that it often still parses. */
function distorted(tape: readonly Uint8Array[], random: () => number): Uint8Array | undefined {
  const original = tape[Math.floor(random() * tape.length)];
  if (original === undefined) return undefined;
  const copy = Uint8Array.from(original);
  for (let at = 0; at < 3; at += 1) copy[Math.floor(random() * copy.length)] = Math.floor(random() * 256);
  return copy;
}

function noise(random: () => number): Uint8Array {
  return Uint8Array.from({ length: 1 + Math.floor(random() * 200) }, () => Math.floor(random() * 256));
}

function digestOf(name: string): string {
  return `sha256:${Buffer.from(name).toString('hex').padEnd(64, '0')}`;
}

function accusation(subject: NodeId) {
  return { subject, incarnation: 1_000_000, verdict: 'failed' };
}
