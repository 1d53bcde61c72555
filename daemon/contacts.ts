/**
 * Where this node finds the others: at the addresses that members tell, those that its welcome named, those that it
 * sees on the network, and, while a damaged disk has lost who is a member, wherever that disk says that members were.
 * Where some members are it keeps apart from the ledger, so that a damaged ledger does not take that with it.
 * Not here: dialling again and again (protocols/membership).
 */

import { type KeyId, type NodeId, shortId } from '../protocols/base/ids.ts';
import { sample } from '../protocols/base/sample.ts';
import type { LedgerMachine } from '../protocols/ledger/machine.ts';
import type { Mesh } from '../protocols/mesh/mesh.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import type { ClusterView, MemberView } from '../protocols/view/view.ts';
import { attempt } from './attempt.ts';
import { type Clock, pause } from './clock.ts';

import type { Log } from './log.ts';
import type { StateStore } from './store/state-store.ts';
import { isKnown } from './stored-ledger.ts';

/** How long a starting node waits to hear from a member before it writes anything: its disk may be an old one. */
const FIRST_CONTACT_MS = 3_000;
/** After the first contact: what the others have is on its way. */
const FIRST_SYNC_MS = 300;
/** How long a node whose disk lost records waits for them to come from others before it does without. */
const RESEED_MS_MAX = 15_000;
/** Dialled each time while nobody is there. */
const SOUGHT_MAX = 8;
/** Kept of what somebody on the network says of a member: anybody can say it, and each costs a dial its time. */
const SEEN_ADDRESSES_MAX = 4;
/** How often it is looked whether somebody is there. */
const LOOK_MS = 20;
/** The same where that may take days. */
const PATIENT_LOOK_MS = 250;
/** Between two times that such a node dials. */
const REDIAL_MS = 5_000;
/** Between two times that such a node asks at doors, and how many it asks then. */
const ASK_MS = 20_000;
const ASKED_MAX = 4;
/**
 * How often it is looked, while only such are known here as were revoked, before nobody is left: at their doors it may be
 * told otherwise meanwhile. Some minutes, and none once a host is taken off that has been waited for.
 */
const DOUBTED_LOOKS_MAX = 100;
/** Members of whom it is kept where they are. */
const KEPT_MAX = 32;
/** Between two writes of that, unless one of them is a member no more. */
const KEPT_MS = 300_000;
/**
 * The value that says who was known when a loss was found, until it is made good: who was let in since looks no different
 * at the next start, and has nothing to bring.
 */
const WITNESSES = 'witnesses';
/** Keys of tokens and operators are among them, and count for nothing. */
const WITNESSES_MAX = 32_768;

export interface Contact {
  readonly id: NodeId;
  /** What it was called, where that is known. */
  readonly name?: string;
  readonly addresses: readonly string[];
  /** Where it can be asked by whom it does not let in. */
  readonly doors?: readonly string[];
}

/** One that has doors. */
type Askable = Contact & Required<Pick<Contact, 'doors'>>;

export interface Named {
  readonly id: NodeId;
  readonly name: string;
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
  readonly #doors: Map<NodeId, readonly string[]>;
  readonly #names: ReadonlyMap<NodeId, string | undefined>;
  /** Of members, as last said on the network. */
  readonly #seen = new Map<NodeId, readonly string[]>();
  /** Of whom the disk said where they are when this life began. */
  readonly #remembered: ReadonlySet<NodeId>;
  /** Known when the loss was found, or named by a member since: they may bring what was lost. */
  readonly #witnesses: Set<NodeId>;
  #looks = 0;
  /** Somebody was remembered in this life: once all those are taken off nobody is left. */
  #hasWaited = false;
  /** The disk does not say yet that it is whole. */
  #isWholeDue = false;
  #isReseeding: boolean;
  #isWhole = false;
  /** Of whom the disk says where they are, and how it says it. */
  #kept: readonly NodeId[];
  #keptText: string;
  #kept_ms = Number.NEGATIVE_INFINITY;

  constructor(init: ContactsInit) {
    this.#init = init;
    const welcomed = [...init.welcomed];
    this.#addresses = new Map(welcomed.map(({ id, addresses }) => [id, addresses]));
    this.#doors = new Map(welcomed.map(({ id, doors = [] }) => [id, doors]));
    this.#names = new Map(welcomed.map(({ id, name }) => [id, name]));
    this.#kept = welcomed.map(({ id }) => id);
    this.#remembered = new Set(this.#kept);
    this.#keptText = JSON.stringify(welcomed);
    this.#isReseeding = init.store.isIncomplete;
    this.#witnesses = new Set(this.#isReseeding ? this.#firstWitnesses() : []);
    this.#hasWaited = this.#waitedFor().length > 0;
  }

  /** Members, and those who may be: a node that lost grants must hear of them from somebody. */
  isAdmitted(peer: NodeId): boolean {
    return this.#isMember(peer) || this.#isRemembered(peer);
  }

  addressesOf(member: NodeId): readonly string[] {
    return [...new Set([...this.#toldOf(member), ...(this.#seen.get(member) ?? [])])];
  }

  /** Dials everybody, and waits a while for somebody and for what that one knows. */
  async meet(mesh: Mesh, signal: AbortSignal): Promise<void> {
    const { self, machine, clock, log, members } = this.#init;
    if (this.#isReseeding) {
      this.#recall();
      this.#keepWitnesses();
    }
    for (const [peer, addresses] of this.#addresses)
      if (peer !== self) void attempt(log, 'dialling a member', () => mesh.connect(peer, addresses));
    if (this.#addresses.size === 0 && ![...members().keys()].some((id) => id !== self)) return;
    const isMember = () => machine.authority.isMember(self);
    const wait_ms = isMember() && !this.#isReseeding ? FIRST_CONTACT_MS : RESEED_MS_MAX;
    const isPartial = () => this.#isReseeding && !this.#isWhole;
    const isLacking = () => mesh.peers().length === 0 || !isMember() || isPartial();
    // Counted, and not read from the clock: that is set soon after a start, by hours.
    for (let waited_ms = 0; isLacking() && waited_ms < wait_ms && !signal.aborted; waited_ms += LOOK_MS)
      await pause(clock, LOOK_MS, signal);
    if (mesh.peers().length > 0) await pause(clock, FIRST_SYNC_MS, signal);
  }

  /**
   * Of a node that has lost what makes it a member: dials those that it remembers for ever, until one of them has brought
   * that, and then waits a while for what else that one knows. Nothing may be written before.
   * @param ask at doors of members: those refuse connections of a node whose grant has ended, and tell it how it stands.
   */
  async outwait(
    mesh: Mesh,
    signal: AbortSignal,
    ask: (members: readonly Askable[]) => Promise<unknown>,
  ): Promise<void> {
    const { self, machine, clock } = this.#init;
    let isAsking = false;
    for (let waited_ms = 0; !isKnown(machine, self) && !signal.aborted; waited_ms += PATIENT_LOOK_MS) {
      if (waited_ms % REDIAL_MS === 0) this.#dial(mesh);
      if (waited_ms % ASK_MS === REDIAL_MS && !isAsking) {
        isAsking = true;
        void ask(this.#askable()).finally(() => {
          isAsking = false;
        });
      }
      await pause(clock, PATIENT_LOOK_MS, signal);
    }
    for (
      let waited_ms = 0;
      !this.#isWhole && waited_ms < RESEED_MS_MAX && !signal.aborted;
      waited_ms += LOOK_MS
    ) {
      // What makes it a member may have come from a door, and nobody is there yet.
      if (waited_ms % REDIAL_MS === 0) this.seek(mesh);
      await pause(clock, LOOK_MS, signal);
    }
  }

  /** This disk has lost records, and not all that a member holds has come since. */
  get isReseeding(): boolean {
    return this.#isReseeding;
  }

  /**
   * Members that it remembers, or that a member has named: not those that it has let in since, nor those that were revoked.
   * Of a revocation that changes nothing here nobody can tell whether what makes it void is here, or what makes it count is
   * lost: one who was there is let in by no such doubt, and is waited for.
   */
  get remembered(): Named[] {
    const { members } = this.#init;
    return this.#waitedFor().map((id) => {
      return { id, name: members().get(id)?.name ?? this.#names.get(id) ?? shortId(id) };
    });
  }

  #waitedFor(): NodeId[] {
    const { self, machine } = this.#init;
    return [...this.#addresses.keys()]
      .filter((id) => id !== self)
      .filter((id) => this.#isMember(id) || (this.#wasThere(id) && !machine.authority.isRevoked(id)));
  }

  /** Somebody that a member has named. */
  add({ id, addresses }: Contact): void {
    this.#addresses.set(id, addresses);
    if (!this.#isReseeding) return;
    this.#witnesses.add(id);
    this.#keepWitnesses();
  }

  /**
   * To be called again and again: keeps where some members are. Not while records may be missing, for then these are few,
   * and not that there are none.
   */
  keep(): void {
    const { self, machine, members, clock, log, store } = this.#init;
    if (this.#isReseeding) return;
    const now = clock.now();
    const isGone = this.#kept.some((id) => id !== self && !members().has(id));
    if (!isGone && Math.abs(now - this.#kept_ms) < KEPT_MS) return;
    const before = new Set(this.#kept);
    const rank = ({ id, status }: MemberView) => Number(status === 'failed') * 2 + Number(!before.has(id));
    const contacts = [...members().values()]
      .filter(({ id }) => id !== self)
      .sort((a, b) => rank(a) - rank(b))
      .slice(0, KEPT_MAX)
      .map(({ id, name, addresses, doors }): Contact => ({ id, name, addresses, doors }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const text = JSON.stringify(contacts);
    // Of a newcomer the others are members before their member records have come.
    const isEarly =
      contacts.length === 0 && this.#kept.some((id) => id !== self && machine.authority.isMember(id));
    if (isEarly || text === this.#keptText) return;
    this.#kept = contacts.map(({ id }) => id);
    this.#kept_ms = now;
    void attempt(log, 'keeping where members are', async () => {
      store.write({ put: [], remove: [], streams: [], values: [['contacts', text]] });
      this.#keptText = text;
    });
  }

  /**
   * To be called again and again. While nobody is there, those that are known by nothing but an address are dialled:
   * membership dials the members that it knows, and a newcomer whose first dials failed knows none.
   */
  seek(mesh: Mesh): void {
    if (mesh.peers().length === 0) this.#dial(mesh);
  }

  #dial(mesh: Mesh): void {
    const { self, clock, members } = this.#init;
    const peers = mesh.peers();
    const known = new Set([...this.#addresses.keys(), ...this.#seen.keys()]);
    const unknown = [...known].filter((id) => id !== self && !members().has(id) && !peers.includes(id));
    for (const id of sample(unknown, SOUGHT_MAX, () => clock.random()))
      mesh.connect(id, this.addressesOf(id)).catch(() => {});
  }

  /**
   * A few of those that it remembers, different ones each time. Also of those that somebody has revoked: a thief may have
   * written that, and been revoked in what this disk has lost. What a door answers is signed, and lets nobody in.
   */
  #askable(): Askable[] {
    const { self, clock } = this.#init;
    const known = [...this.#doors]
      .map(([id, doors]) => ({ id, doors, addresses: this.addressesOf(id) }))
      .filter(
        ({ id, doors }) => id !== self && doors.length > 0 && (this.#isMember(id) || this.#wasThere(id)),
      );
    return sample(known, ASKED_MAX, () => clock.random());
  }

  /**
   * Whom the view does not list, and who may be a member all the same: its grant has ended, and may have been renewed
   * since, or its member record is lost here. Also of those that somebody has revoked, as when it asks what it lost.
   */
  unlisted(): Askable[] {
    const { self, machine, members } = this.#init;
    const { ledger, authority } = machine;
    const found = new Map(this.#doors);
    for (const [id, [record]] of ledger.ofKind('member')) {
      const doors = (record?.author === id && bodyOf('member', record)?.doors) || [];
      if (doors.length > 0) found.set(id, doors);
    }
    return [...found]
      .filter(([id, doors]) => id !== self && doors.length > 0 && !members().has(id))
      .filter(([id]) => authority.isMember(id) || this.#wasThere(id))
      .map(([id, doors]) => ({ id, doors, addresses: this.addressesOf(id) }));
  }

  /** Somebody was seen on the network. Of two that see one another the lesser id dials; membership would later. */
  discovered(mesh: Mesh, peer: NodeId, addresses: readonly string[]): void {
    const { self, members } = this.#init;
    if (!this.isAdmitted(peer) || mesh.peers().includes(peer)) return;
    const told = new Set(this.#toldOf(peer));
    this.#seen.set(peer, addresses.filter((address) => !told.has(address)).slice(0, SEEN_ADDRESSES_MAX));
    if (self > peer && members().get(peer)?.status !== 'failed') return;
    // Another dial of this peer would wait for this one: what members told comes first.
    mesh.connect(peer, this.addressesOf(peer)).catch(() => {});
  }

  /** All that this peer holds is here. Equal to one whose own grant is missing as well, this disk is no better. */
  compared(peer: NodeId): void {
    // One that this node itself has let in since has no more than this disk.
    if (this.#isReseeding && this.#isMember(peer) && this.#witnesses.has(peer)) this.#isWhole = true;
  }

  /**
   * To be called again and again: once what this disk had lost has come, the members are those that have grants, and
   * no others. Before that, whoever brings them may be one whose own is missing here.
   * @param hasLeft something runs here of which nothing tells, and nobody may be left who could.
   * @returns whether that is so from now on.
   */
  endReseeding(hasLeft: boolean): boolean {
    const { log } = this.#init;
    if (this.#isWholeDue) void this.#keepWhole();
    const isWaiting = this.#waitedFor().length > 0;
    this.#hasWaited ||= isWaiting;
    const isAlone = !isWaiting && !hasLeft && (this.#hasWaited || !this.#mayBeTold());
    if (!this.#isReseeding || !(this.#isWhole || isAlone)) return false;
    this.#isReseeding = false;
    void this.#keepWhole();
    log(
      'info',
      this.#isWhole
        ? 'what this disk had lost has come from other members'
        : 'this node knows nobody who could bring again what its disk has lost, and goes on without it',
    );
    return true;
  }

  /**
   * Is there a door at which it may be told that who was there is a member all the same? Of a thief's revocations those may
   * be left that name all others, and what makes them void be lost: it would refuse them all for good, and ask nobody.
   */
  #mayBeTold(): boolean {
    this.#looks += 1;
    return this.#looks <= DOUBTED_LOOKS_MAX && this.unlisted().length > 0;
  }

  async #keepWhole(): Promise<void> {
    const { log, store } = this.#init;
    this.#isWholeDue = false;
    this.#isWholeDue = !(await attempt(log, 'keeping that this disk is whole', async () => {
      store.remove([WITNESSES]);
      store.setComplete();
    }));
  }

  /** What was said by this member, or by another one of it. */
  #toldOf(member: NodeId): string[] {
    const told = this.#init.members().get(member)?.addresses ?? [];
    return [...told, ...(this.#addresses.get(member) ?? [])];
  }

  /** Where the members were, whether or not what makes them members is still on this disk. */
  #recall(): void {
    const { self, machine } = this.#init;
    for (const [id, [record]] of machine.ledger.ofKind('member')) {
      const member = record && bodyOf('member', record);
      if (!member || record.author !== id || id === self || !this.#witnesses.has(id)) continue;
      if (!this.#addresses.has(id)) this.#addresses.set(id, member.addresses);
      if (!this.#doors.get(id)?.length) this.#doors.set(id, member.doors);
    }
  }

  /** As kept by the start that found the loss; at that start whoever this disk knows in any way. */
  #firstWitnesses(): Iterable<NodeId> {
    const { machine, store } = this.#init;
    const text = store.value(WITNESSES);
    if (text !== undefined) return JSON.parse(text) as NodeId[];
    const recorded = [...machine.ledger.ofKind('member')].map(([id]) => id);
    const granted = [...machine.ledger.ofKind('grant')].map(([key]) => key.split('/')[0]!);
    return [...this.#remembered, ...recorded, ...granted].slice(0, WITNESSES_MAX);
  }

  #keepWitnesses(): void {
    const { store, log } = this.#init;
    const text = JSON.stringify([...this.#witnesses].sort());
    if (store.value(WITNESSES) === text) return;
    void attempt(log, 'keeping who may bring what this disk has lost', async () =>
      store.write({ put: [], remove: [], streams: [], values: [[WITNESSES, text]] }),
    );
  }

  /** While grants may be missing on this disk, who was there may bring them again, but for those that were revoked. */
  #isRemembered(peer: NodeId): boolean {
    return this.#wasThere(peer) && !this.#isAccused(peer);
  }

  /**
   * Does this disk, from which grants may be missing, hold a member record of it, or has kept where it is? All that it holds
   * has checksums: who was never a member here is not among them.
   */
  #wasThere(peer: NodeId): boolean {
    const { ledger } = this.#init.machine;
    if (!this.#isReseeding) return false;
    return this.#remembered.has(peer) || ledger.get('member', peer)?.author === peer;
  }

  /** Does this disk hold a revocation of the key? What that one follows from may be what is missing. */
  #isAccused(peer: NodeId): boolean {
    return [...this.#init.machine.ledger.ofKind('revoke')].some(([key]) => key.startsWith(`${peer}/`));
  }

  #isMember(key: KeyId): boolean {
    return this.#init.machine.authority.isMember(key, this.#init.clock.now());
  }
}
