/**
 * What a node has seen, as a version vector over streams: for each stream the highest sequence without gaps, and the
 * few beyond it that came out of order. Not here: records themselves.
 */
import type { KeyId } from '../base/ids.ts';
import type { StreamId } from './record.ts';

/** Out-of-order sequences kept for one stream; beyond it the highest are forgotten and anti-entropy brings them. */
export const AHEAD_MAX = 1024;

/** Streams of one author that are known by the word of a peer alone, without a record of them. */
export const UNPROVEN_STREAMS_MAX = 64;

interface Stream {
  high: number;
  readonly ahead: Set<number>;
}

export class VersionVector {
  readonly #streams = new Map<StreamId, Stream>();
  readonly #unproven = new Map<KeyId, number>();

  high(stream: StreamId): number {
    return this.#streams.get(stream)?.high ?? 0;
  }

  has(stream: StreamId, seq: number): boolean {
    const known = this.#streams.get(stream);
    return known !== undefined && (seq <= known.high || known.ahead.has(seq));
  }

  add(stream: StreamId, seq: number): void {
    const known = this.#stream(stream);
    if (seq <= known.high || known.ahead.size >= AHEAD_MAX) return;
    known.ahead.add(seq);
    this.#close(known);
  }

  /**
   * All of (from, to] is accounted for, says a peer.
   * @returns false when that would leave a gap, or be one stream too many: nothing was changed.
   */
  adopt(stream: StreamId, from: number, to: number): boolean {
    if (from > this.high(stream) || !this.#mayAdopt(stream)) return false;
    const known = this.#stream(stream);
    known.high = Math.max(known.high, to);
    for (const seq of known.ahead) if (seq <= known.high) known.ahead.delete(seq);
    this.#close(known);
    return true;
  }

  *entries(): IterableIterator<[StreamId, number]> {
    for (const [id, { high }] of this.#streams) yield [id, high];
  }

  get size(): number {
    return this.#streams.size;
  }

  #mayAdopt(id: StreamId): boolean {
    if (this.#streams.has(id)) return true;
    const author = id.slice(0, id.lastIndexOf('/'));
    const unproven = this.#unproven.get(author) ?? 0;
    if (unproven >= UNPROVEN_STREAMS_MAX) return false;
    this.#unproven.set(author, unproven + 1);
    return true;
  }

  #stream(id: StreamId): Stream {
    let stream = this.#streams.get(id);
    if (stream === undefined) {
      stream = { high: 0, ahead: new Set() };
      this.#streams.set(id, stream);
    }
    return stream;
  }

  #close(stream: Stream): void {
    while (stream.ahead.delete(stream.high + 1)) stream.high += 1;
  }
}
