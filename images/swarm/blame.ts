/**
 * Who sent the wrong bytes of a piece. A piece is often put together from several peers; when it fails, the one
 * that lied is not known. Then the hashes of its blocks are kept, and compared once the piece has come right.
 * Pure: hashing is handed in. Not here: dropping anyone.
 */

/** A peer, one block of a piece: where it starts, and its bytes. */
interface Block<P> {
  readonly peer: P;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Failed pieces whose blocks are remembered; beyond it the oldest is forgotten. */
export const FAILED_PIECES_MAX = 16;

export class Blame<P> {
  readonly #hash: (bytes: Uint8Array) => string;
  /** Pieces under way. Their bytes are held by the downloader anyway until the piece is whole. */
  readonly #blocks = new Map<number, Block<P>[]>();
  readonly #failed = new Map<number, { peer: P; offset: number; hash: string }[]>();

  constructor(hash: (bytes: Uint8Array) => string) {
    this.#hash = hash;
  }

  /** True while a failed piece waits to come right: best fetched from one peer alone. */
  get undecided(): boolean {
    return this.#failed.size > 0;
  }

  received(piece: number, offset: number, bytes: Uint8Array, peer: P): void {
    const blocks = this.#blocks.get(piece) ?? [];
    // The same block twice: the later one replaced nothing, the downloader keeps the first.
    if (!blocks.some((block) => block.offset === offset)) blocks.push({ peer, offset, bytes });
    this.#blocks.set(piece, blocks);
  }

  /** @returns the peers that are proved to have lied: the only source of the piece, or none yet. */
  failed(piece: number): P[] {
    const blocks = this.#blocks.get(piece) ?? [];
    this.#blocks.delete(piece);
    const peers = new Set(blocks.map((block) => block.peer));
    if (peers.size <= 1) return [...peers];
    if (!this.#failed.has(piece) && this.#failed.size >= FAILED_PIECES_MAX) {
      this.#failed.delete(this.#failed.keys().next().value ?? piece);
    }
    const hashed = blocks.map(({ peer, offset, bytes }) => ({ peer, offset, hash: this.#hash(bytes) }));
    this.#failed.set(piece, hashed);
    return [];
  }

  /** @returns the peers whose block in an earlier, failed attempt differs from the right one. */
  verified(piece: number): P[] {
    const right = this.#blocks.get(piece) ?? [];
    const before = this.#failed.get(piece) ?? [];
    this.#blocks.delete(piece);
    this.#failed.delete(piece);
    if (before.length === 0) return [];
    const hashes = new Map(right.map((block) => [block.offset, this.#hash(block.bytes)]));
    const liars = before.filter(({ offset, hash }) => hashes.has(offset) && hashes.get(offset) !== hash);
    return [...new Set(liars.map((block) => block.peer))];
  }
}
