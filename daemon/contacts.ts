/**
 * Where this node finds the others: at the addresses that members tell, those that its welcome named, those that it
 * sees on the network, and, while a damaged disk has lost who is a member, wherever that disk says that members were.
 * Not here: dialling again and again (protocols/membership).
 */

import type { KeyId, NodeId } from '../protocols/base/ids.ts';
import { sample } from '../protocols/base/sample.ts';
import type { LedgerMachine } from '../protocols/ledger/machine.ts';
import type { Mesh } from '../protocols/mesh/mesh.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import { attempt } from './attempt.ts';
import { type Clock, pause } from './clock.ts';

import type { Log } from './log.ts';
import type { StateStore } from './store/state-store.ts';

/** How long a starting node waits to hear from a member before it writes anything: its disk may be an old one. */
const FIRST_CONTACT_MS = 3_000;
/** After the first contact: what the others have is on its way. */
const FIRST_SYNC_MS = 300;
/** How long a node whose disk lost the record that makes it a member waits for it to come from others. */
const RESEED_MS_MAX = 15_000;
/** Dialled each time while nobody is there. */
const SOUGHT_MAX = 8;
/** How often it is looked whether somebody is there. */
const LOOK_MS = 20;

export interface Contact {
  readonly id: NodeId;
  readonly addresses: readonly string[];
}

export interface ContactsInit {
  readonly self: NodeId;
  readonly machine: LedgerMachine;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Where to dial first, besides the members that the ledger knows. */
  readonly welcomed: Iterable<Contact>;
  readonly members: () => ClusterView['members'];
}

export class Contacts {
  readonly #init: ContactsInit;
  readonly #addresses: Map<NodeId, readonly string[]>;
  #isReseeding: boolean;
  #isWhole = false;

  constructor(init: ContactsInit) {
    this.#init = init;
    this.#addresses = new Map(Array.from(init.welcomed, ({ id, addresses }) => [id, addresses]));
    this.#isReseeding = init.store.isIncomplete;
  }

  /** Members, and those who may be: a node that lost grants must hear of them from somebody. */
  isAdmitted(peer: NodeId): boolean {
    return this.#isMember(peer) || this.#isRemembered(peer);
  }

  addressesOf(member: NodeId): readonly string[] {
    const told = this.#init.members().get(member)?.addresses ?? [];
    return [...new Set([...told, ...(this.#addresses.get(member) ?? [])])];
  }

  /** Dials everybody, and waits a while for somebody and for what that one knows. */
  async meet(mesh: Mesh, signal: AbortSignal): Promise<void> {
    const { self, machine, clock, log, members } = this.#init;
    if (this.#isReseeding) this.#recall();
    for (const [peer, addresses] of this.#addresses)
      if (peer !== self) void attempt(log, 'dialling a member', () => mesh.connect(peer, addresses));
    if (this.#addresses.size === 0 && ![...members().keys()].some((id) => id !== self)) return;
    const isMember = () => machine.authority.isMember(self);
    const wait_ms = isMember() ? FIRST_CONTACT_MS : RESEED_MS_MAX;
    const isLacking = () => mesh.peers().length === 0 || !isMember();
    // Counted, and not read from the clock: that is set soon after a start, by hours.
    for (let waited_ms = 0; isLacking() && waited_ms < wait_ms && !signal.aborted; waited_ms += LOOK_MS)
      await pause(clock, LOOK_MS, signal);
    if (mesh.peers().length > 0) await pause(clock, FIRST_SYNC_MS, signal);
  }

  /**
   * To be called again and again. While nobody is there, those that are known by nothing but an address are dialled:
   * membership dials the members that it knows, and a newcomer whose first dials failed knows none.
   */
  seek(mesh: Mesh): void {
    const { self, clock, members } = this.#init;
    if (mesh.peers().length > 0) return;
    const unknown = [...this.#addresses].filter(([id]) => id !== self && !members().has(id));
    for (const contact of sample(unknown, SOUGHT_MAX, () => clock.random()))
      mesh.connect(...contact).catch(() => {});
  }

  /** Somebody was seen on the network. Of two that see one another the lesser id dials; membership would later. */
  discovered(mesh: Mesh, peer: NodeId, addresses: readonly string[]): void {
    const { self, members } = this.#init;
    if (!this.#isMember(peer) || mesh.peers().includes(peer)) return;
    this.#addresses.set(peer, addresses);
    if (self > peer && members().get(peer)?.status !== 'failed') return;
    mesh.connect(peer, addresses).catch(() => {});
  }

  /** All that this peer holds is here. Equal to one whose own grant is missing as well, this disk is no better. */
  compared(peer: NodeId): void {
    if (this.#isReseeding && this.#isMember(peer)) this.#isWhole = true;
  }

  /**
   * To be called again and again: once what this disk had lost has come, the members are those that have grants, and
   * no others. Before that, whoever brings them may be one whose own is missing here.
   * @returns whether that is so from now on.
   */
  endReseeding(): boolean {
    const { log, store } = this.#init;
    if (!this.#isReseeding || !this.#isWhole) return false;
    this.#isReseeding = false;
    void attempt(log, 'keeping that this disk is whole', async () => store.setComplete());
    log('info', 'what this disk had lost has come from other members');
    return true;
  }

  /** Where the members were, whether or not what makes them members is still on this disk. */
  #recall(): void {
    const { self, machine } = this.#init;
    for (const [id, [record]] of machine.ledger.ofKind('member')) {
      const member = record && bodyOf('member', record);
      if (member && record.author === id && id !== self && !this.#addresses.has(id))
        this.#addresses.set(id, member.addresses);
    }
  }

  /** While grants may be missing on this disk, whoever it holds a member record of may bring them again. */
  #isRemembered(peer: NodeId): boolean {
    const { ledger } = this.#init.machine;
    if (!this.#isReseeding || this.#isAccused(peer)) return false;
    return ledger.get('member', peer)?.author === peer;
  }

  /** Does this disk hold a revocation of the key? What that one follows from may be what is missing. */
  #isAccused(peer: NodeId): boolean {
    return [...this.#init.machine.ledger.ofKind('revoke')].some(([key]) => key.startsWith(`${peer}/`));
  }

  #isMember(key: KeyId): boolean {
    return this.#init.machine.authority.isMember(key, this.#init.clock.now());
  }
}
