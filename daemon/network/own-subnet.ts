/**
 * The subnet of this node in the cluster's container network: claims one, links the other hosts, and moves to another
 * when a node with the better claim has the same. Not here: how hosts are linked (vxlan-network.ts) and who has the
 * better claim (protocols/discovery/subnet.ts).
 */

import { ShoalError } from '../../protocols/base/errors.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import { claimSubnet, subnetConflicts } from '../../protocols/discovery/subnet.ts';
import type { ClusterView } from '../../protocols/view/view.ts';
import { attempt } from '../attempt.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { StateStore } from '../store/state-store.ts';
import type { Network } from './network.ts';

/** After a move that failed, as when no subnet is free: trying again at once would be a loop without a pause. */
const RETRY_MS = 5_000;
/** The value that says which subnet this node had last: its member record may be lost, and containers have its addresses. */
const KEPT = 'subnet';

export interface OwnSubnetInit {
  readonly self: NodeId;
  /** The cluster's range, as in `10.210.0.0/16`. */
  readonly range: string;
  readonly network: Network;
  readonly store: Pick<StateStore, 'value' | 'write'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly members: () => ClusterView['members'];
  /** The gateway is known: DNS must answer there. */
  readonly onGateway: (address: string) => Promise<void>;
  /** Instances here have addresses of the old one. */
  readonly onMoved: () => void;
  /** The members are to be linked once more. */
  readonly onRetry: () => void;
}

export class OwnSubnet {
  readonly #init: OwnSubnetInit;
  #subnet: string | null = null;
  #isMoving = false;

  constructor(init: OwnSubnetInit) {
    this.#init = init;
  }

  /** As in `10.210.7.0/24`; null: none, or not yet. */
  get subnet(): string | null {
    return this.#subnet;
  }

  /**
   * @param recorded what this node had by its member record; it keeps what it had unless another has it now.
   * @throws E_NETWORK_FAILED
   */
  async start(recorded: string | null): Promise<void> {
    await this.#take(recorded ?? this.#init.store.value(KEPT) ?? null);
  }

  async #take(before: string | null): Promise<void> {
    const { self, range, network, members, onGateway } = this.#init;
    if (network.kind === 'vxlan') {
      const others = [...members().values()].filter(({ id }) => id !== self);
      const taken = new Set(others.flatMap(({ subnet }) => (subnet === null ? [] : [subnet])));
      this.#subnet = before !== null && !taken.has(before) ? before : claimSubnet(range, taken, self);
      if (this.#subnet === null) throw new ShoalError('E_NETWORK_FAILED', `no subnet of ${range} is free`);
      this.#keep(this.#subnet);
    }
    await network.start(this.#subnet);
    if (network.gateway !== null) await onGateway(network.gateway);
  }

  #keep(subnet: string): void {
    const { store, log } = this.#init;
    if (store.value(KEPT) === subnet) return;
    void attempt(log, 'keeping the subnet', async () =>
      store.write({ put: [], remove: [], streams: [], values: [[KEPT, subnet]] }),
    );
  }

  /** Links the hosts of all members. @param mayMove whether another subnet may be taken where two have the same. */
  link(members: ClusterView['members'], mayMove: boolean): void {
    const { self, network, log } = this.#init;
    if (network.kind !== 'vxlan' || this.#subnet === null || this.#isMoving) return;
    const all = [...members.values()];
    if (mayMove && subnetConflicts(all).includes(self)) {
      void attempt(log, 'renumbering', () => this.#move());
      return;
    }
    const peers = all.filter(({ id }) => id !== self).map(({ id, host, subnet }) => ({ id, host, subnet }));
    void attempt(log, 'linking hosts', () => network.setPeers(peers));
  }

  /** This host is reached at another address from now on. @throws E_NETWORK_FAILED */
  async follow(host: string): Promise<void> {
    const { network, members, onMoved } = this.#init;
    const haveMoved = await network.setHost(host);
    this.link(members(), false);
    if (haveMoved) onMoved();
  }

  /** Another node has our subnet and the better claim: all instances here get new addresses. */
  async #move(): Promise<void> {
    const { clock, log, onMoved, onRetry } = this.#init;
    this.#isMoving = true;
    try {
      log('warn', 'another node has the same subnet: this one renumbers', { subnet: this.#subnet });
      await this.#take(null);
      onMoved();
    } catch (error) {
      clock.after(RETRY_MS, onRetry);
      throw error;
    } finally {
      this.#isMoving = false;
    }
  }
}
