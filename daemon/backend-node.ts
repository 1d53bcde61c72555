/** A node as those see it who answer for it (node-backend.ts, status-answer.ts). `ShoalNode` is one. */
import type { Images } from '../images/images.ts';
import type { NodeId } from '../protocols/base/ids.ts';
import type { Clock } from './clock.ts';
import type { Cluster } from './cluster.ts';
import type { DnsServer } from './dns/dns-server.ts';
import type { Network } from './network/network.ts';
import type { Runtime } from './runtime/runtime.ts';

export interface BackendNode {
  readonly id: NodeId;
  readonly name: string;
  readonly started_ms: number;
  readonly clock: Clock;
  readonly runtime: Runtime;
  readonly images: Images;
  readonly dns: DnsServer;
  readonly networkKind: Network['kind'];
  readonly cluster: Cluster | undefined;
  /** Its cluster, while that is not up: what makes this node a member has to come from another. */
  readonly waiting: Cluster | undefined;
  init(name: string, seniors: readonly string[], threshold: number): Promise<Cluster>;
  join(token: string): Promise<Cluster>;
}
