/**
 * Runs nodes on virtual time over a simulated network: power, pauses, clocks, crashes, restarts. Everything follows
 * from the seed. It knows no core and judges nothing: see shoal-node.ts and checkers/.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import { EventQueue } from './event-queue.ts';
import { Gossip, type Publication } from './gossip.ts';
import { Host, type WaitingStep } from './host.ts';
import { ACCESS, type Access, Network } from './network.ts';
import { Prng } from './prng.ts';
import type { SimHost, SimNode, SimNodeFactory } from './sim-node.ts';
import { KERNEL_FROM, STEP } from './steps.ts';
import { Trace } from './trace.ts';
import { type End, GOSSIP, type Message, Transport } from './transport.ts';

/** Virtual time 0 on every unskewed clock. */
export const EPOCH_MS = 1_800_000_000_000;
/** Things on their way at one time: beyond it the cores are flooding, and the run fails. */
const QUEUE_MAX = 50_000_000;
/** Steps at one virtual time: beyond that something asks to be called again, at once, for ever. */
const STILL_MAX = 20_000_000;

export class Simulator<N extends SimNode = SimNode> {
  readonly network: Network;
  readonly prng: Prng;
  /** Null when nobody asks for it: it costs as much as the rest of the simulator. */
  readonly trace: Trace | null;
  readonly hosts: Host<N>[] = [];
  readonly transport: Transport;
  now_ms = 0;
  steps_count = 0;
  queue_max = 0;
  still_max = STILL_MAX;
  readonly #byId = new Map<NodeId, Host<N>>();
  readonly #queue = new EventQueue();
  #waiting_count = 0;
  #still_count = 0;
  readonly #gossip: Gossip;
  readonly #factory: SimNodeFactory<N>;
  readonly #seed: string;

  constructor(seed: string, factory: SimNodeFactory<N>, isTraced = false) {
    this.#seed = seed;
    this.prng = new Prng(`${seed}/world`);
    this.network = new Network(new Prng(`${seed}/network`));
    this.trace = isTraced ? new Trace() : null;
    this.#factory = factory;
    this.transport = new Transport(this);
    this.#gossip = new Gossip(this, this.transport);
  }

  add(id: NodeId, access: Access = ACCESS.lan, skew_ms = 0): void {
    const host = new Host<N>(id, this.hosts.length, skew_ms);
    this.hosts.push(host);
    this.#byId.set(id, host);
    this.network.add(access);
  }

  host(id: NodeId): Host<N> {
    const host = this.#byId.get(id);
    if (host === undefined) throw new Error(`no host ${id}`);
    return host;
  }

  hostOf(id: NodeId): Host {
    return this.host(id);
  }

  start(id: NodeId): void {
    const host = this.host(id);
    if (host.node !== null) return;
    // What waited while nobody was there: its turn would be one of the life before, and never come.
    this.#scatter(host);
    host.isPowered = true;
    host.life += 1;
    host.busyUntil_ms = 0;
    host.heartbeat_ms = Number.POSITIVE_INFINITY;
    host.node = this.#factory(this.#worldOf(host));
    this.push(0, STEP.start, host, host.life, 0, null, null);
  }

  /** @param isSilent the whole host goes, so nobody tells its peers; else only the process, and the kernel tells them. */
  crash(id: NodeId, isSilent: boolean): void {
    const host = this.host(id);
    if (host.node === null) return;
    this.transport.crash(host, isSilent);
    this.#gossip.onCrash(host);
    this.#scatter(host);
    host.node = null;
    host.isPowered = !isSilent;
    host.busyUntil_ms = 0;
  }

  /** Everything that comes for the node waits until then, its timers too. The kernel goes on. */
  pause(id: NodeId, for_ms: number): void {
    const host = this.host(id);
    host.busyUntil_ms = Math.max(host.busyUntil_ms, this.now_ms + for_ms);
  }

  /** Moves a host's clock, either way. */
  setClock(id: NodeId, skew_ms: number): void {
    this.host(id).skew_ms = skew_ms;
  }

  command(id: NodeId, name: string): void {
    const host = this.host(id);
    this.push(0, STEP.command, host, host.life, 0, name, null);
  }

  /** Has `act` happen at a virtual time. */
  at(at_ms: number, act: () => void): void {
    this.#queue.push(at_ms, STEP.act, -1, 0, 0, 0, act, null);
  }

  push(after_ms: number, kind: number, host: Host, a: number, b: number, ref: unknown, body: unknown): void {
    this.#queue.push(this.now_ms + after_ms, kind, host.at, host.life, a, b, ref, body);
  }

  defer(host: Host, end: End, rest: Message): void {
    this.#wait(host, { kind: STEP.arrival, life: host.life, a: 0, b: 0, ref: end, body: rest }, true);
  }

  runUntil(end_ms: number): void {
    const queue = this.#queue;
    while (queue.next_ms <= end_ms) {
      const size = queue.size + this.#waiting_count;
      if (size > this.queue_max) {
        this.queue_max = size;
        if (size > QUEUE_MAX) throw new Error(`more than ${QUEUE_MAX} things are on their way`);
      }
      queue.pop();
      this.#still_count = queue.at_ms > this.now_ms ? 0 : this.#still_count + 1;
      if (this.#still_count > this.still_max) throw new Error(`time stands still at ${this.now_ms} ms`);
      if (queue.at_ms > this.now_ms) this.now_ms = queue.at_ms;
      this.#step(queue);
    }
    this.now_ms = end_ms;
  }

  #step(step: EventQueue): void {
    const { kind, life, a, b, ref, body } = step;
    if (kind === STEP.act) {
      (ref as () => void)();
      return;
    }
    const host = this.hosts[step.host]!;
    if (kind === STEP.resume) {
      if (life === host.life) this.#resume(host);
    } else if (kind < KERNEL_FROM && host.busyUntil_ms > this.now_ms) {
      // What it is blocked by comes before all else.
      this.#wait(host, { kind, life, a, b, ref, body }, kind === STEP.unblocked);
    } else {
      this.#perform(host, kind, life, a, b, ref, body);
    }
  }

  #wait(host: Host, step: WaitingStep, isFirst: boolean): void {
    if (isFirst) host.waiting.unshift(step);
    else host.waiting.push(step);
    this.#waiting_count += 1;
    if (host.isResuming) return;
    host.isResuming = true;
    this.#queue.push(host.busyUntil_ms, STEP.resume, host.at, host.life, 0, 0, null, null);
  }

  /** Whatever makes the process busy again leaves the rest to wait on. */
  #resume(host: Host<N>): void {
    while (host.waiting.length > 0 && host.busyUntil_ms <= this.now_ms) {
      const { kind, life, a, b, ref, body } = host.waiting.shift()!;
      this.#waiting_count -= 1;
      this.#perform(host, kind, life, a, b, ref, body);
    }
    host.isResuming = host.waiting.length > 0;
    if (host.isResuming)
      this.#queue.push(host.busyUntil_ms, STEP.resume, host.at, host.life, 0, 0, null, null);
  }

  /** The next life does not wait for what this one was busy with. */
  #scatter(host: Host): void {
    for (const { kind, life, a, b, ref, body } of host.waiting)
      this.#queue.push(host.busyUntil_ms, kind, host.at, life, a, b, ref, body);
    this.#waiting_count -= host.waiting.length;
    host.waiting = [];
    host.isResuming = false;
  }

  #perform(
    host: Host<N>,
    kind: number,
    life: number,
    a: number,
    b: number,
    ref: unknown,
    body: unknown,
  ): void {
    if (isOfOneLife(kind) && (life !== host.life || host.node === null)) return;
    this.steps_count += 1;
    if (this.trace !== null) this.#record(this.trace, kind, host, a, b, body);
    switch (kind) {
      case STEP.arrival:
        this.transport.onArrival(ref as End, body as Message);
        break;
      case STEP.timer:
        // Most have been stopped: to see that from here spares a look into the node, whose memory is far.
        if (ref === null || (ref as { readonly token: number }).token === b) host.node!.timer(a, b);
        break;
      case STEP.start:
        host.node!.start();
        break;
      case STEP.command:
        host.node!.command(ref as string);
        break;
      case STEP.dialled:
        this.transport.onDialled(host, ref as Host, a);
        break;
      case STEP.accepted:
        this.transport.onAccepted(host, ref as End, a);
        break;
      case STEP.reset:
        this.transport.onReset(ref as End);
        break;
      case STEP.shut:
        this.transport.onShut(ref as End);
        break;
      case STEP.dialTimeout:
        this.transport.endDial(host, ref as NodeId, a);
        break;
      case STEP.heartbeat:
        this.#gossip.onHeartbeat(host);
        break;
      case STEP.unblocked:
        (ref as () => void)();
        break;
      case STEP.relay:
        this.#gossip.relay(host, body as Publication, ref as NodeId);
        break;
      case STEP.subscribed:
        this.#gossip.onSubscribed(host, ref as NodeId);
        break;
      case STEP.retry:
        this.transport.onRetry(ref as End, a);
        break;
      case STEP.syn:
        this.transport.trySyn(host, ref as NodeId, a);
        break;
      case STEP.unacknowledged:
        this.transport.onUnacknowledged(ref as End);
        break;
    }
  }

  onConnected(host: Host, peer: NodeId): void {
    this.#gossip.onConnected(host, peer);
    host.node?.connected(peer);
  }

  onDisconnected(host: Host, peer: NodeId): void {
    this.#gossip.onDisconnected(host, peer);
    host.node?.disconnected(peer);
  }

  onMessage(host: Host, from: NodeId, message: Message): void {
    const { channel, body, bytes } = message;
    if (!host.node!.hears(from, bytes)) return;
    if (channel >= 0) {
      host.node!.message(from, channel, body as Uint8Array);
    } else if (channel !== GOSSIP) {
      this.#gossip.onControl(host, from, channel, body);
    } else {
      const publication = body as Publication;
      if (!this.#gossip.onCopy(host, publication, from)) return;
      const verdict = host.node!.published(from, publication.body);
      if (verdict === 'accept') this.#gossip.onAccepted(host, publication, from);
    }
  }

  #record(trace: Trace, kind: number, host: Host<N>, a: number, b: number, body: unknown): void {
    trace.add(this.now_ms, kind, host.at, a, b, traced(body));
    let part = kind === STEP.arrival ? (body as Message).next : null;
    for (; part !== null; part = part.next)
      trace.add(this.now_ms, kind, host.at, part.channel, b, traced(part));
  }

  #worldOf(host: Host<N>): SimHost {
    const { id, life } = host;
    const isCurrent = () => host.node !== null && host.life === life;
    const chance = new Prng(`${this.#seed}/${id}/${life}`);
    return {
      id,
      life,
      random: chance.next,
      now: () => EPOCH_MS + Math.floor(this.now_ms + host.skew_ms),
      send: (to, channel, body) => {
        if (isCurrent()) this.transport.send(host, to, channel, body, body.byteLength);
      },
      publish: (body) => {
        if (isCurrent()) this.#gossip.publish(host, body);
      },
      connect: (peer) => {
        if (isCurrent() && this.#byId.has(peer) && host.node!.admits(peer)) this.transport.dial(host, peer);
      },
      disconnect: (peer) => {
        if (isCurrent()) this.transport.disconnect(host, peer);
      },
      schedule: (core, token, at_ms, place) => {
        const after_ms = Math.max(0, at_ms - EPOCH_MS - host.skew_ms - this.now_ms);
        this.#queue.push(this.now_ms + after_ms, STEP.timer, host.at, life, core, token, place ?? null, null);
      },
      block: (for_ms, action) => {
        host.busyUntil_ms = Math.max(host.busyUntil_ms, this.now_ms) + for_ms;
        this.#queue.push(host.busyUntil_ms, STEP.unblocked, host.at, life, 0, 0, action, null);
      },
    };
  }
}

/** Connections know by themselves whether they are of a life that is over. */
function isOfOneLife(kind: number): boolean {
  return (
    kind === STEP.timer ||
    kind === STEP.start ||
    kind === STEP.command ||
    kind === STEP.shut ||
    kind === STEP.dialTimeout ||
    kind === STEP.heartbeat ||
    kind === STEP.unblocked ||
    kind === STEP.relay
  );
}

/** The bytes in what travels, for the trace. */
function traced(body: unknown): unknown {
  if (body === null) return null;
  const { body: inner } = body as Message | Publication;
  return inner instanceof Uint8Array ? inner : ((inner as Publication | null)?.body ?? null);
}
