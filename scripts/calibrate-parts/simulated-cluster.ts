/** A simulated cluster on LAN links that is driven by hand: it is looked at after every step of its virtual time. */
import { memberStatus } from '../../protocols/membership/membership.ts';
import { type SetUp, setUp } from '../../test/sim/play.ts';
import { hostNumbers } from '../bench-parts/hosts/host-cluster.ts';
import { type CalibratedCluster, WRITE_PAUSE_MS, WRITES_SETTLE_MS } from './cluster.ts';

const WARM_UP_MS = 20_000;
/** How finely it is looked at. */
const STEP_MS = 1;
const WRITE_STEP_MS = 0.25;
const HELD_MS_MAX = 120_000;

export class SimulatedCluster implements CalibratedCluster {
  readonly nodes_count: number;
  readonly #setUp: SetUp;
  #writes_count = 0;

  constructor(nodes_count: number, seed: number) {
    this.nodes_count = nodes_count;
    this.#setUp = setUp({ nodes_count, seed, scenario: 'calibration' }, {});
    this.#world.runUntil(WARM_UP_MS);
  }

  get #world() {
    return this.#setUp.world;
  }

  now_ms(): number {
    return this.#world.now_ms;
  }

  async pass(ms: number): Promise<void> {
    this.#world.runUntil(this.#world.now_ms + ms);
  }

  received_bytes(): number[] {
    return this.#world.hosts.map((host) => host.received_bytes);
  }

  async write(writers: readonly number[]): Promise<number[]> {
    const times_ms: number[] = [];
    for (const writer of writers) {
      const asked_ms = this.now_ms();
      this.#writes_count += 1;
      const key = `calibration-${this.#writes_count}`;
      this.#world.command(this.#id(writer), `tag:${key}`);
      const isHeld = () =>
        this.#world.hosts.every(({ node }) => node!.ledger.ledger.get('tag', key) !== undefined);
      times_ms.push((await this.#until('a record is on all nodes', WRITE_STEP_MS, isHeld)) - asked_ms);
      await this.pass(WRITE_PAUSE_MS);
    }
    await this.pass(WRITES_SETTLE_MS);
    return times_ms;
  }

  kill(host: number): void {
    this.#setUp.stage.kill(this.#id(host), false);
  }

  async restart(host: number): Promise<void> {
    this.#setUp.stage.dead.delete(this.#id(host));
    this.#world.start(this.#id(host));
    const all = hostNumbers(this.nodes_count);
    await this.held(all, all, 'alive');
    await this.#until('it has announced itself', STEP_MS, () => this.#node(host).isAnnounced);
  }

  isolate(host: number): void {
    this.#setUp.stage.partition([this.#id(host)]);
  }

  rejoin(): void {
    this.#world.network.heal();
  }

  async held(
    observers: readonly number[],
    subjects: readonly number[],
    status: 'alive' | 'failed',
  ): Promise<number> {
    return await this.#until(`all hold ${subjects.join(', ')} as ${status}`, STEP_MS, () =>
      observers.every((observer) =>
        subjects.every(
          (subject) =>
            subject === observer ||
            memberStatus(this.#node(observer).membership, this.#id(subject)) === status,
        ),
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #until(what: string, step_ms: number, isSo: () => boolean): Promise<number> {
    const end_ms = this.now_ms() + HELD_MS_MAX;
    while (!isSo()) {
      if (this.now_ms() > end_ms) throw new Error(`not so after ${HELD_MS_MAX / 1000} simulated s: ${what}`);
      await this.pass(step_ms);
    }
    return this.now_ms();
  }

  #id(host: number): string {
    return this.#world.hosts[host - 1]!.id;
  }

  #node(host: number) {
    return this.#world.hosts[host - 1]!.node!;
  }
}
