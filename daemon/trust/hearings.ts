/** Whose acts are looked at that a host has brought to this door: those of each once in a while, for that costs work. */
import type { NodeId } from '../../protocols/base/ids.ts';

/** Shorter than the pause between two questions of an honest host. */
const AGAIN_MS = 10_000;

export class Hearings {
  /** Hosts that are remembered; the one that was heard longest ago goes first. */
  static readonly HOSTS_MAX = 256;

  readonly #heard_ms = new Map<NodeId, number>();

  get size(): number {
    return this.#heard_ms.size;
  }

  /** @returns whether it is heard now. */
  hear(host: NodeId, now: number): boolean {
    const heard_ms = this.#heard_ms.get(host);
    // The clock may have been set back.
    if (heard_ms !== undefined && Math.abs(now - heard_ms) < AGAIN_MS) return false;
    this.#heard_ms.delete(host);
    this.#heard_ms.set(host, now);
    for (const oldest of this.#heard_ms.keys()) {
      if (this.#heard_ms.size <= Hearings.HOSTS_MAX) break;
      this.#heard_ms.delete(oldest);
    }
    return true;
  }
}
