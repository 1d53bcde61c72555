/**
 * What the simulator asks of a node, and what a node may ask of the simulator. A node hosts any set of cores;
 * the simulator knows none of them.
 */
import type { NodeId } from '../../protocols/base/ids.ts';

/** What becomes of a published message, as gossipsub's validators say it: only what is accepted is relayed. */
export type Verdict = 'accept' | 'ignore' | 'reject';

export interface SimNode {
  start(): void;
  connected(peer: NodeId): void;
  disconnected(peer: NodeId): void;
  /** A datagram of `send`. */
  message(from: NodeId, channel: number, body: Uint8Array): void;
  /** What somebody published; `from` relayed it. */
  published(from: NodeId, body: Uint8Array): Verdict;
  /** What `schedule` asked for. */
  timer(core: number, token: number): void;
  /** Something that a user does; its meaning is the node's. */
  command(name: string): void;
  /** Whether it handles this frame of a peer at all, gossip's own too. As `MeshGuard.admit`. */
  hears(from: NodeId, bytes: number): boolean;
  /** May there be a connection with this peer? As `MeshInit.isMember`. */
  admits(peer: NodeId): boolean;
}

/** The world of one life of one node. After a crash nothing it asks for happens. */
export interface SimHost {
  readonly id: NodeId;
  /** Counts lives of this node from 1. */
  readonly life: number;
  readonly random: () => number;
  /** The node's own clock, milliseconds since the epoch; it may differ from other nodes', and jump. */
  now(): number;
  /** As `Mesh.send`: in order, at most once, dropped without a connection. @param channel 0 to 255. */
  send(to: NodeId, channel: number, body: Uint8Array): void;
  /** As `Mesh.publish`. */
  publish(body: Uint8Array): void;
  connect(peer: NodeId): void;
  disconnect(peer: NodeId): void;
  /**
   * @param at_ms by the node's own clock as it is now; later jumps do not move it.
   * @param place when its token is another by then, the timer was stopped, and the node is not bothered with it.
   */
  schedule(core: number, token: number, at_ms: number, place?: { readonly token: number }): void;
  /** The node does nothing else for this long, as while a disk writes, and then `action`. */
  block(for_ms: number, action: () => void): void;
}

/** Called at each start. */
export type SimNodeFactory<N extends SimNode> = (host: SimHost) => N;
