/** One simulated machine, as the simulator keeps it: power, clock, connections, counters. Its node is in sim-node.ts. */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { SimNode } from './sim-node.ts';
import type { End } from './transport.ts';

/** A step of its process that has to wait. */
export interface WaitingStep {
  readonly kind: number;
  readonly life: number;
  readonly a: number;
  readonly b: number;
  readonly ref: unknown;
  readonly body: unknown;
}

export class Host<N extends SimNode = SimNode> {
  readonly id: NodeId;
  /** Its number, from 0. */
  readonly at: number;
  /** Clock less virtual time. */
  skew_ms: number;
  /** Null while its process does not run. */
  node: N | null = null;
  life = 0;
  /** False when the whole machine is off: nothing answers for it. */
  isPowered = true;
  /** Its process handles nothing before this. */
  busyUntil_ms = 0;
  /** What has come for it since, in order; and whether it is in the world's queue when that goes on. */
  waiting: WaitingStep[] = [];
  isResuming = false;
  /** Open ends of connections by peer, the newest last. Two when both sides dialled at once. */
  readonly ends = new Map<NodeId, End[]>();
  /** Dials under way, by number. */
  readonly dialling = new Map<NodeId, number>();
  /** Of these: whom to dial again if that comes to nothing. */
  readonly askedAgain = new Set<NodeId>();
  /** And those whose address its kernel asks for, since its link was down: nothing goes to them before the answer. */
  readonly asking = new Set<NodeId>();
  /** Peers that it may publish to: they have told what they listen to. */
  readonly subscribed = new Set<NodeId>();
  /** Peers that it relays gossip to. */
  readonly mesh = new Set<NodeId>();
  /** Until when it grafts none of these. */
  readonly backoffs = new Map<NodeId, number>();
  /** When its mesh is looked over next; infinite when there is nothing to do. */
  heartbeat_ms = Number.POSITIVE_INFINITY;
  sent_bytes = 0;
  received_bytes = 0;
  received_count = 0;
  /** Published messages that came, first copies and all. */
  gossipFirst_count = 0;
  gossipCopies_count = 0;

  constructor(id: NodeId, at: number, skew_ms: number) {
    this.id = id;
    this.at = at;
    this.skew_ms = skew_ms;
  }
}
