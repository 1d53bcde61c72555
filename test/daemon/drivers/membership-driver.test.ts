/** How the effects of membership are carried out: dials that end in time, and signs of life from every channel. */
import t from 'tap';
import { type Clock, systemClock } from '../../../daemon/clock.ts';
import { MembershipDriver } from '../../../daemon/drivers/membership-driver.ts';
import { type Log, silentLog } from '../../../daemon/log.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import type { Mesh, MeshEvents } from '../../../protocols/mesh/mesh.ts';
import type { MemberStatus } from '../../../protocols/view/view.ts';

/** Time that passes when the test says so. */
class HandClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ at_ms: number; action: () => void }>();
  readonly random = () => 0.5;

  now(): number {
    return this.#now;
  }

  after(delay_ms: number, action: () => void): () => void {
    const timer = { at_ms: this.#now + delay_ms, action };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Lets what was promised meanwhile happen between any two timers. */
  async pass(duration_ms: number): Promise<void> {
    const end_ms = this.#now + duration_ms;
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.at_ms - b.at_ms);
      if (next === undefined || next.at_ms > end_ms) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at_ms);
      next.action();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#now = end_ms;
  }
}

interface Dial {
  readonly peer: NodeId;
  isGivenUp: boolean;
  fail(): void;
}

/** A mesh where nobody answers: each dial lasts until it is given up, or fails by hand. */
class DeafMesh {
  readonly dials: Dial[] = [];
  readonly listeners = new Map<string, (...args: never[]) => void>();

  on<E extends keyof MeshEvents>(event: E, listener: MeshEvents[E]): void {
    this.listeners.set(event, listener as (...args: never[]) => void);
  }

  peers(): NodeId[] {
    return [];
  }

  send(): boolean {
    return true;
  }

  disconnect(peer: NodeId): void {
    this.emit('disconnected', peer);
  }

  connect(peer: NodeId, _addresses: readonly string[], { signal }: { signal: AbortSignal }): Promise<void> {
    return new Promise((_resolve, reject) => {
      const dial = { peer, isGivenUp: false, fail: () => reject(new Error('nobody answers')) };
      this.dials.push(dial);
      signal.addEventListener('abort', () => {
        dial.isGivenUp = true;
        reject(new Error('given up'));
      });
    });
  }

  emit<E extends keyof MeshEvents>(event: E, ...args: Parameters<MeshEvents[E]>): void {
    (this.listeners.get(event) as ((...given: Parameters<MeshEvents[E]>) => void) | undefined)?.(...args);
  }
}

function started(clock: Clock = systemClock, log: Log = silentLog) {
  const mesh = new DeafMesh();
  const statuses: [NodeId, MemberStatus][] = [];
  const driver = new MembershipDriver({
    self: 'a',
    clock,
    log,
    addressesOf: () => ['/ip4/192.0.2.1/tcp/4747'],
    writeVerdict: () => {},
    refute: () => {},
    recall: () => {},
    guard: { charge: () => undefined },
    onStatus: (member, status) => statuses.push([member, status]),
  });
  driver.members([
    { id: 'a', incarnation: 1 },
    { id: 'b', incarnation: 1 },
  ]);
  driver.start(mesh as unknown as Mesh);
  return { mesh, driver, statuses };
}

t.test(
  'what was asked for during a dial is dialled after it, and nobody is dialled twice at a time',
  async (t) => {
    const clock = new HandClock();
    const { mesh, driver } = started(clock);
    await clock.pass(3000);
    t.equal(mesh.dials.length, 1);
    mesh.dials[0]!.fail();
    await clock.pass(0);
    t.equal(mesh.dials.length, 2, 'it was asked for meanwhile');
    mesh.dials[1]!.fail();
    await clock.pass(0);
    t.equal(mesh.dials.length, 2, 'nobody has asked since');
    await clock.pass(3000);
    t.equal(mesh.dials.length, 3);
    driver[Symbol.dispose]();
    t.ok(mesh.dials[2]!.isGivenUp, 'none outlives the driver');
    await clock.pass(0);
    t.equal(mesh.dials.length, 3);
  },
);

t.test('a message on any channel is a sign of life', async (t) => {
  const clock = new HandClock();
  const { mesh, driver, statuses } = started(clock);
  mesh.emit('connected', 'b');
  for (let second = 0; second < 10; second += 1) {
    await clock.pass(1000);
    mesh.emit('message', 'b', 'ledger', new Uint8Array(1));
  }
  t.same(statuses, []);
  await clock.pass(10_000);
  t.equal(driver.status('b'), 'failed');
  t.same(statuses, [
    ['b', 'suspect'],
    ['b', 'failed'],
  ]);
  driver[Symbol.dispose]();
});

t.test('members come and go one at a time', async (t) => {
  const { driver } = started(new HandClock());
  driver.member('c', 1);
  t.equal(driver.status('c'), 'alive');
  driver.removed('c');
  driver.verdict('b', { subject: 'c', incarnation: 1, verdict: 'failed' });
  t.equal(driver.status('c'), 'alive', 'of a stranger nothing is held');
  driver[Symbol.dispose]();
});

t.test('who fails and who is back is logged for people, a mere doubt is not', async (t) => {
  const clock = new HandClock();
  const lines: string[] = [];
  const { mesh, driver } = started(clock, (level, message, detail) => {
    if (message.startsWith('a member is')) lines.push(`${level}: ${message} ${detail?.member}`);
  });
  mesh.emit('connected', 'b');
  await clock.pass(10_000);
  t.same(lines, ['debug: a member is suspect b', 'info: a member is failed b']);
  driver.member('b', 2);
  t.equal(driver.status('b'), 'alive');
  t.same(lines.slice(2), ['info: a member is alive b']);
  driver[Symbol.dispose]();
});
