/**
 * Where a scenario plays: the world, its cast, and what may be done to it. Faults undo themselves, or are undone by
 * `calm`. Everything is drawn from the world's seed. Not here: what happens when (scenarios.ts).
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { GOOD } from './network.ts';
import type { ShoalNode } from './shoal-node.ts';
import type { Simulator } from './simulator.ts';
import type { Content, VirtualDisk } from './virtual-disk.ts';

/** Clocks of hosts differ by up to this much either way. */
export const SKEW_MS_MAX = 200;
/** A host that was in trouble is as healthy as others this long after it. */
export const RECOVERED_MS = 6000;
/** A verdict of a member in trouble may have been on its way to somebody when that ended. */
const UNDER_WAY_MS = 500;
const NEVER = { from_ms: Number.NEGATIVE_INFINITY, until_ms: Number.NEGATIVE_INFINITY };

export class Stage {
  readonly world: Simulator<ShoalNode>;
  /** Honest members that are there from the beginning. */
  readonly nodes: readonly NodeId[];
  readonly newcomers: readonly NodeId[];
  readonly byzantine: readonly NodeId[];
  /** Of `--hours`: how long the faults go on, unless the scenario knows better. */
  readonly faults_ms: number | null;
  /** By who was killed for good: those that held it as failed at that time, for it was paused. */
  readonly failedBefore = new Map<NodeId, ReadonlySet<NodeId>>();
  /** Those that were killed for good, and when; and those that were revoked. */
  readonly dead = new Map<NodeId, number>();
  readonly revoked = new Map<NodeId, number>();
  /** Records that were on one disk alone when that was damaged, rolled back or gone: nobody can bring them again. */
  readonly lost = new Set<string>();
  readonly #disks: ReadonlyMap<NodeId, VirtualDisk>;
  /** The last that was done to each host, and what went before without time to recover. */
  readonly #troubles = new Map<NodeId, { readonly from_ms: number; readonly until_ms: number }>();
  /** The times for which each was paused, in order; those that meet are one. */
  readonly #pauses = new Map<NodeId, { readonly from_ms: number; until_ms: number }[]>();
  readonly #snapshots = new Map<NodeId, Content>();
  #writes_count = 0;

  constructor(init: {
    readonly world: Simulator<ShoalNode>;
    readonly nodes: readonly NodeId[];
    readonly newcomers: readonly NodeId[];
    readonly byzantine: readonly NodeId[];
    readonly disks: ReadonlyMap<NodeId, VirtualDisk>;
    readonly faults_ms: number | null;
  }) {
    this.world = init.world;
    this.nodes = init.nodes;
    this.newcomers = init.newcomers;
    this.byzantine = init.byzantine;
    this.faults_ms = init.faults_ms;
    this.#disks = init.disks;
  }

  get prng() {
    return this.world.prng;
  }

  /** Any honest node. */
  any(): NodeId {
    return this.prng.pick(this.nodes);
  }

  /** `count` records by lot of `writers`, spread over a time. */
  write(writers: readonly NodeId[], count: number, from_ms: number, to_ms: number, what = 'tag'): void {
    for (let number = 0; number < count; number += 1) {
      const at_ms = this.prng.between(from_ms, to_ms);
      const writer = this.prng.pick(writers);
      this.#writes_count += 1;
      const name = `${what}:${this.#writes_count}`;
      this.world.at(at_ms, () => this.world.command(writer, name));
    }
  }

  /** `count` of what was written by then, each by any node that knows it. */
  deleteSome(writers: readonly NodeId[], count: number, from_ms: number, to_ms: number): void {
    for (let number = 0; number < count; number += 1) {
      this.world.at(this.prng.between(from_ms, to_ms), () => {
        const name = 1 + Math.floor(this.prng.next() * this.#writes_count);
        this.world.command(this.prng.pick(writers), `delete:${name}`);
      });
    }
  }

  after(delay_ms: number, act: () => void): void {
    this.world.at(this.world.now_ms + delay_ms, act);
  }

  /** Has nothing been done to it, an honest member, that lasted until less than `for_ms` ago? */
  isWell(id: NodeId, for_ms: number): boolean {
    if (this.revoked.has(id) || this.byzantine.includes(id) || this.world.host(id).node === null)
      return false;
    return this.world.now_ms >= (this.#troubles.get(id) ?? NEVER).until_ms + for_ms;
  }

  /**
   * May it call that member failed now? A member that is in trouble, or was a moment ago, is silent. And who was in
   * trouble itself reads what came meanwhile: of others that were then, or not long before. For a while after that it may
   * by verdicts that were right when they were given: what takes them back can get lost as anything else. And while the
   * network holds back all that the member has said since, the silence to judge by is still the one of its trouble.
   */
  excuseOf(observer: NodeId, member: NodeId): 'troubled' | 'unheard' | 'recovered' | null {
    if (this.#isExcused(observer, member)) return 'troubled';
    if (this.isWell(member, RECOVERED_MS)) return null;
    return this.#isUnheard(observer, member) ? 'unheard' : 'recovered';
  }

  /** They are connected, and nothing of what the member has said since its trouble ended has reached the observer. */
  #isUnheard(observer: NodeId, member: NodeId): boolean {
    const { until_ms } = this.#troubles.get(member) ?? NEVER;
    const heard_ms = this.world.transport.heardFrom_ms(this.world.host(observer), member);
    return heard_ms !== null && heard_ms <= until_ms;
  }

  #isExcused(observer: NodeId, member: NodeId): boolean {
    if (!this.isWell(observer, 0) || !this.isWell(member, UNDER_WAY_MS)) return true;
    const { until_ms } = this.#troubles.get(member) ?? NEVER;
    const { from_ms } = this.#troubles.get(observer) ?? NEVER;
    return !this.isWell(observer, RECOVERED_MS) && until_ms + RECOVERED_MS > from_ms;
  }

  #trouble(id: NodeId, for_ms: number): void {
    const { now_ms } = this.world;
    const last = this.#troubles.get(id) ?? NEVER;
    const isOneWithLast = now_ms < last.until_ms + RECOVERED_MS;
    this.#troubles.set(id, {
      from_ms: isOneWithLast ? last.from_ms : now_ms,
      until_ms: Math.max(now_ms + for_ms, last.until_ms),
    });
  }

  pause(id: NodeId, for_ms: number): void {
    this.#trouble(id, for_ms);
    this.#notePause(id, for_ms);
    this.world.pause(id, for_ms);
  }

  #notePause(id: NodeId, for_ms: number): void {
    const { now_ms } = this.world;
    const pauses = this.#pauses.get(id) ?? [];
    this.#pauses.set(id, pauses);
    const last = pauses.at(-1);
    if (last === undefined || last.until_ms < now_ms)
      pauses.push({ from_ms: now_ms, until_ms: now_ms + for_ms });
    else last.until_ms = Math.max(last.until_ms, now_ms + for_ms);
  }

  /** From when on it can do anything that was paused at that time; that time itself for all others. */
  awakeFrom_ms(id: NodeId, at_ms: number): number {
    const pause = this.#pauses
      .get(id)
      ?.find(({ from_ms, until_ms }) => from_ms <= at_ms && at_ms <= until_ms);
    return pause?.until_ms ?? at_ms;
  }

  /** The event loop stands still, for so short that nobody may take it for dead. */
  stall(id: NodeId, for_ms: number): void {
    this.world.pause(id, for_ms);
  }

  /** Goes, and comes back. @param isSilent the whole host goes, not only the process. */
  restart(id: NodeId, down_ms: number, isSilent: boolean): void {
    if (this.world.host(id).node === null) return;
    this.#trouble(id, down_ms);
    this.#crash(id, isSilent);
    this.after(down_ms, () => this.world.start(id));
  }

  /** For good, and its disk with it. */
  kill(id: NodeId, isSilent: boolean): void {
    this.dead.set(id, this.world.now_ms);
    const before = [...this.world.hosts].filter(({ node }) => node?.membership.failed.has(id));
    this.failedBefore.set(id, new Set(before.map((host) => host.id)));
    this.#crash(id, isSilent);
    this.#lose(this.#disks.get(id)!.wipe());
  }

  /** Power fails, and some of what was on the disk for long cannot be read afterwards. */
  tear(id: NodeId, down_ms: number): void {
    if (this.world.host(id).node === null) return;
    const { cluster } = this.world.host(id).node!.ledger;
    this.restart(id, down_ms, true);
    const count = 1 + Math.floor(this.prng.next() * 5);
    const isSpare = ({ kind, digest }: LedgerRecord) => kind !== 'grant' && digest !== cluster;
    this.#lose(this.#disks.get(id)!.damage(this.prng, count, isSpare));
  }

  /** Takes an image of a disk, to which `rollBack` may return. */
  photograph(id: NodeId): void {
    this.#snapshots.set(id, this.#disks.get(id)!.snapshot());
  }

  /** The disk is as it was when it was photographed. */
  rollBack(id: NodeId, down_ms: number): void {
    const before = this.#snapshots.get(id);
    if (before === undefined || this.world.host(id).node === null) return;
    this.restart(id, down_ms, true);
    this.#lose(this.#disks.get(id)!.restore(before));
  }

  partition(side: readonly NodeId[]): void {
    this.world.network.partition(side.map((id) => this.world.host(id).at));
  }

  cut(from: NodeId, to: NodeId): void {
    this.#trouble(from, 0);
    this.#trouble(to, 0);
    this.world.network.cut(this.world.host(from).at, this.world.host(to).at);
  }

  jump(id: NodeId, by_ms: number): void {
    this.#trouble(id, 0);
    this.world.setClock(id, this.world.host(id).skew_ms + by_ms);
  }

  /** Ends all faults: everybody runs, on a good network, with a clock that is about right. */
  calm(): void {
    this.world.network.heal();
    this.world.network.quality = GOOD;
    for (const { id, skew_ms } of this.world.hosts) {
      if (Math.abs(skew_ms) > SKEW_MS_MAX) this.world.setClock(id, 0);
      if (this.world.host(id).life > 0 && !this.dead.has(id)) this.world.start(id);
    }
  }

  #lose(digests: readonly string[]): void {
    const disks = [...this.#disks.values()];
    for (const digest of digests) if (!disks.some((disk) => disk.holds(digest))) this.lost.add(digest);
  }

  #crash(id: NodeId, isSilent: boolean): void {
    this.#disks.get(id)!.crash(this.prng);
    this.world.crash(id, isSilent);
  }
}
