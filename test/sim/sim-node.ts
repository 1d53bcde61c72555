/**
 * What the simulator asks of a node, and what a node may ask of the simulator. A node hosts any set of cores;
 * the simulator knows none of them.
 */
import type { NodeId } from '../../protocols/base/ids.ts';

export type SimEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'connected' | 'disconnected'; readonly peer: NodeId }
  | { readonly kind: 'message'; readonly from: NodeId; readonly channel: string; readonly body: Uint8Array }
  /** What somebody published; `from` relayed it. */
  | { readonly kind: 'published'; readonly from: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'timer'; readonly token: string }
  /** Something that a user does; its meaning is the node's. */
  | { readonly kind: 'command'; readonly name: string };

/** The world of one life of one node. After a crash nothing it asks for happens. */
export interface SimHost {
  readonly id: NodeId;
  /** Counts lives of this node from 1. */
  readonly life: number;
  /** The node's own clock, milliseconds since the epoch; it may differ from other nodes'. */
  now(): number;
  readonly random: () => number;
  /** As `Mesh.send`: at most once, dropped without a connection. */
  send(to: NodeId, channel: string, body: Uint8Array): void;
  /** As `Mesh.publish`. */
  publish(body: Uint8Array): void;
  connect(peer: NodeId): void;
  disconnect(peer: NodeId): void;
  schedule(token: string, at_ms: number): void;
  /** Into the trace, and to those who watch the run. */
  report(fact: SimFact): void;
}

/** What a node tells about itself; checkers and measurements read these. */
export type SimFact =
  | {
      readonly kind: 'status';
      readonly member: NodeId;
      readonly status: 'alive' | 'suspect' | 'failed';
    }
  | { readonly kind: 'isolated'; readonly isolated: boolean }
  | { readonly kind: 'refute'; readonly incarnation: number }
  | { readonly kind: 'acknowledged'; readonly digest: string }
  | { readonly kind: 'rejected'; readonly reason: string };

export interface SimNode {
  handle(event: SimEvent): void;
}

/** Called at each start; what shall outlive a crash is in `disk`, which is the same object in each life. */
export type SimNodeFactory<N extends SimNode, Disk> = (host: SimHost, disk: Disk) => N;
