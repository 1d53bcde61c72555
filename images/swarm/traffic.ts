/** Content bytes by peer: what came, and what went. */
import type { NodeId } from '../../protocols/base/ids.ts';

export class Traffic {
  readonly #received = new Map<NodeId, number>();
  readonly #sent = new Map<NodeId, number>();

  received(peer: NodeId, bytes: number): void {
    this.#received.set(peer, (this.#received.get(peer) ?? 0) + bytes);
  }

  sent(peer: NodeId, bytes: number): void {
    this.#sent.set(peer, (this.#sent.get(peer) ?? 0) + bytes);
  }

  totals(): { received: Record<NodeId, number>; sent: Record<NodeId, number> } {
    return { received: Object.fromEntries(this.#received), sent: Object.fromEntries(this.#sent) };
  }
}
