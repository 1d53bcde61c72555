/**
 * Runs nodes on virtual time over a simulated network: connections, datagrams, gossip, pauses, crashes, restarts.
 * Everything follows from the seed. It knows no core and judges nothing: see shoal-node.ts and checkers/.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import { EventQueue } from './event-queue.ts';
import { Network } from './network.ts';
import { Prng } from './prng.ts';
import type { SimEvent, SimFact, SimHost, SimNode, SimNodeFactory } from './sim-node.ts';
import { Trace } from './trace.ts';

/** Virtual time 0 on every unskewed clock. */
const EPOCH_MS = 1_800_000_000_000;
/** To how many peers, by lot each time, a node relays what was published; between gossipsub's D (6) and D_hi (12). */
const GOSSIP_DEGREE = 8;
/** Published messages that a node remembers so as not to relay them twice. */
const GOSSIP_SEEN_MAX = 4096;
/** Caps on what one run may hold: beyond it the cores are flooding, and the run fails. */
const QUEUE_MAX = 1_000_000;

interface Fact {
  readonly at_ms: number;
  readonly node: NodeId;
  readonly fact: SimFact;
}

interface Host<N extends SimNode, Disk> {
  readonly id: NodeId;
  readonly disk: Disk;
  /** Clock less virtual time. */
  readonly skew_ms: number;
  /** Null while crashed. */
  node: N | null;
  life: number;
  pausedUntil_ms: number;
  /** Open connections to each peer, as this side sees it. The other side may know better. */
  readonly links: Map<NodeId, Set<number>>;
  readonly gossipSeen: Set<string>;
}

type Step =
  | { readonly kind: 'node'; readonly to: NodeId; readonly life: number; readonly event: SimEvent }
  | { readonly kind: 'dialled'; readonly from: NodeId; readonly to: NodeId; readonly life: number }
  | { readonly kind: 'accepted'; readonly from: NodeId; readonly to: NodeId; readonly link: number }
  | { readonly kind: 'closed'; readonly from: NodeId; readonly to: NodeId; readonly link: number }
  | {
      readonly kind: 'arrival';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly link: number;
      readonly channel: string | null;
      readonly body: Uint8Array;
    }
  | { readonly kind: 'act'; readonly act: () => void };

export class Simulator<N extends SimNode, Disk> {
  readonly network: Network;
  readonly prng: Prng;
  readonly trace = new Trace();
  readonly hosts = new Map<NodeId, Host<N, Disk>>();
  readonly facts: Fact[] = [];
  now_ms = 0;
  queue_max = 0;
  readonly #queue = new EventQueue<Step>();
  readonly #factory: SimNodeFactory<N, Disk>;
  #links = 0;
  /** What the story has in store; it is not on its way between nodes. */
  #acts_count = 0;
  /** Connections that the dialler does not know of yet, with its life. Data may overtake the answer. */
  readonly #answered = new Map<number, number>();

  constructor(seed: string, factory: SimNodeFactory<N, Disk>) {
    this.prng = new Prng(`${seed}/world`);
    this.network = new Network(new Prng(`${seed}/network`));
    this.#factory = factory;
  }

  add(id: NodeId, disk: Disk, skew_ms = 0): void {
    this.hosts.set(id, {
      id,
      disk,
      skew_ms,
      node: null,
      life: 0,
      pausedUntil_ms: 0,
      links: new Map(),
      gossipSeen: new Set(),
    });
  }

  start(id: NodeId): void {
    const host = this.#host(id);
    if (host.node !== null) return;
    host.life += 1;
    host.pausedUntil_ms = 0;
    host.node = this.#factory(this.#worldOf(host), host.disk);
    this.#give(host, { kind: 'start' });
  }

  /** @param isSilent the whole host goes, so nobody tells its peers; else only the process, and the kernel tells them. */
  crash(id: NodeId, isSilent: boolean): void {
    const host = this.#host(id);
    if (host.node === null) return;
    this.trace.add(this.now_ms, id, isSilent ? 'crash silently' : 'crash');
    host.node = null;
    for (const [peer, links] of host.links)
      for (const link of links) if (!isSilent) this.#tellClosed(id, peer, link);
    host.links.clear();
    host.gossipSeen.clear();
  }

  /** Everything that comes for the node waits until then, its timers too. */
  pause(id: NodeId, for_ms: number): void {
    this.trace.add(this.now_ms, id, `pause ${for_ms}`);
    this.#host(id).pausedUntil_ms = this.now_ms + for_ms;
  }

  command(id: NodeId, name: string): void {
    const host = this.#host(id);
    this.#push(0, { kind: 'node', to: id, life: host.life, event: { kind: 'command', name } });
  }

  /** Has `act` happen at a virtual time. */
  at(at_ms: number, act: () => void): void {
    this.#acts_count += 1;
    this.#queue.push(at_ms, { kind: 'act', act });
  }

  runUntil(end_ms: number): void {
    while (this.#queue.next_ms <= end_ms) {
      const onTheirWay_count = this.#queue.size - this.#acts_count;
      this.queue_max = Math.max(this.queue_max, onTheirWay_count);
      if (onTheirWay_count > QUEUE_MAX) throw new Error(`more than ${QUEUE_MAX} things are on their way`);
      const at_ms = this.#queue.next_ms;
      const step = this.#queue.pop()!;
      this.now_ms = Math.max(this.now_ms, at_ms);
      this.#step(step);
    }
    this.now_ms = end_ms;
  }

  #step(step: Step): void {
    if (step.kind === 'act') {
      this.#acts_count -= 1;
      step.act();
      return;
    }
    const host = this.#host(step.to);
    if (this.now_ms < host.pausedUntil_ms) {
      this.#queue.push(host.pausedUntil_ms, step);
      return;
    }
    switch (step.kind) {
      case 'node':
        if (step.life === host.life) this.#give(host, step.event);
        break;
      case 'dialled':
        this.#onDialled(host, step);
        break;
      case 'accepted':
        this.#accept(host, step.from, step.link);
        break;
      case 'closed':
        this.#close(host, step.from, step.link);
        break;
      case 'arrival':
        this.#onArrival(host, step);
        break;
    }
  }

  /** A dial that cannot be answered is silence; the dialler tries again. */
  #onDialled(host: Host<N, Disk>, step: Step & { kind: 'dialled' }): void {
    if (host.node === null || !this.network.isOpen(host.id, step.from)) return;
    this.#links += 1;
    const link = this.#links;
    this.#open(host, step.from, link);
    this.#answered.set(link, step.life);
    this.#push(this.network.delay_ms(), { kind: 'accepted', from: host.id, to: step.from, link });
  }

  #accept(host: Host<N, Disk>, from: NodeId, link: number): void {
    const life = this.#answered.get(link);
    if (life === undefined) return;
    this.#answered.delete(link);
    if (host.node !== null && life === host.life) this.#open(host, from, link);
    else this.#tellClosed(host.id, from, link);
  }

  #onArrival(host: Host<N, Disk>, step: Step & { kind: 'arrival' }): void {
    if (host.node === null) return;
    const { from, link, channel, body } = step;
    this.#accept(host, from, link);
    if (!host.links.get(from)?.has(link)) {
      // As a kernel answers what belongs to no connection.
      this.#tellClosed(host.id, from, link);
      return;
    }
    if (channel !== null) this.#give(host, { kind: 'message', from, channel, body });
    else if (this.#isNews(host, body)) {
      this.#relay(host, body, from);
      this.#give(host, { kind: 'published', from, body });
    }
  }

  #isNews(host: Host<N, Disk>, body: Uint8Array): boolean {
    const key = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1');
    if (host.gossipSeen.has(key)) return false;
    host.gossipSeen.add(key);
    if (host.gossipSeen.size > GOSSIP_SEEN_MAX) {
      for (const oldest of host.gossipSeen) {
        host.gossipSeen.delete(oldest);
        break;
      }
    }
    return true;
  }

  #relay(host: Host<N, Disk>, body: Uint8Array, except: NodeId | null): void {
    const peers = [...host.links.keys()].filter((peer) => peer !== except);
    for (const peer of this.prng.sample(peers, GOSSIP_DEGREE)) this.#put(host, peer, null, body);
  }

  #put(host: Host<N, Disk>, to: NodeId, channel: string | null, body: Uint8Array): void {
    const link = [...(host.links.get(to) ?? [])].at(-1);
    if (link === undefined) return;
    for (const delay_ms of this.network.delays_ms(host.id, to)) {
      this.#push(delay_ms, { kind: 'arrival', from: host.id, to, link, channel, body });
    }
  }

  #open(host: Host<N, Disk>, peer: NodeId, link: number): void {
    const links = host.links.get(peer);
    if (links !== undefined) {
      links.add(link);
      return;
    }
    host.links.set(peer, new Set([link]));
    this.#give(host, { kind: 'connected', peer });
  }

  #close(host: Host<N, Disk>, peer: NodeId, link: number): void {
    const links = host.links.get(peer);
    if (links === undefined || !links.delete(link) || links.size > 0) return;
    host.links.delete(peer);
    this.#give(host, { kind: 'disconnected', peer });
  }

  #tellClosed(from: NodeId, to: NodeId, link: number): void {
    if (this.network.isOpen(from, to))
      this.#push(this.network.delay_ms(), { kind: 'closed', from, to, link });
  }

  #give(host: Host<N, Disk>, event: SimEvent): void {
    if (host.node === null) return;
    const detail =
      event.kind === 'timer' ? event.token : 'peer' in event ? event.peer : 'from' in event ? event.from : '';
    this.trace.add(this.now_ms, host.id, `${event.kind} ${detail}`, 'body' in event ? event.body : undefined);
    host.node.handle(event);
  }

  #worldOf(host: Host<N, Disk>): SimHost {
    const { id, life } = host;
    const isCurrent = () => host.node !== null && host.life === life;
    const chance = new Prng(`${id}/${life}/${this.prng.next()}`);
    return {
      id,
      life,
      now: () => EPOCH_MS + Math.floor(this.now_ms) + host.skew_ms,
      random: chance.next,
      send: (to, channel, body) => {
        if (isCurrent()) this.#put(host, to, channel, body);
      },
      publish: (body) => {
        if (isCurrent() && this.#isNews(host, body)) this.#relay(host, body, null);
      },
      connect: (peer) => {
        if (!isCurrent() || !this.network.isOpen(id, peer)) return;
        this.#push(this.network.delay_ms(), { kind: 'dialled', from: id, to: peer, life });
      },
      disconnect: (peer) => {
        if (!isCurrent()) return;
        for (const link of host.links.get(peer) ?? []) {
          this.#tellClosed(id, peer, link);
          this.#push(0, { kind: 'closed', from: peer, to: id, link });
        }
      },
      schedule: (token, at_ms) => {
        if (!isCurrent()) return;
        const after_ms = Math.max(0, at_ms - EPOCH_MS - host.skew_ms - this.now_ms);
        this.#push(after_ms, { kind: 'node', to: id, life, event: { kind: 'timer', token } });
      },
      report: (fact) => {
        this.facts.push({ at_ms: this.now_ms, node: id, fact });
        this.trace.add(this.now_ms, id, JSON.stringify(fact));
      },
    };
  }

  #push(after_ms: number, step: Step): void {
    this.#queue.push(this.now_ms + after_ms, step);
  }

  #host(id: NodeId): Host<N, Disk> {
    const host = this.hosts.get(id);
    if (host === undefined) throw new Error(`no host ${id}`);
    return host;
  }
}
