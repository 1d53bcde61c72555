/** How far each blob of each image is. Kept for the images that were asked for last; a cap bounds it. */
import type { Digest, NodeId } from '../protocols/base/ids.ts';
import type { Blob, ImageBody } from '../protocols/base/records.ts';
import type { BlobProgress } from './images.ts';

/** Images that are remembered; beyond it the one that was asked for first is forgotten. */
export const PROGRESS_IMAGES_MAX = 256;

interface State {
  readonly digest: Digest;
  readonly size: number;
  done: number;
  phase: BlobProgress['phase'];
  readonly sources: Map<NodeId, number>;
}

export class BlobState {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  phase(phase: BlobProgress['phase']): void {
    this.#state.phase = phase;
    if (phase === 'ready' || phase === 'unpacking') this.#state.done = this.#state.size;
  }

  done(bytes: number): void {
    this.#state.done = bytes;
  }

  from(peer: NodeId, bytes: number): void {
    this.#state.sources.set(peer, (this.#state.sources.get(peer) ?? 0) + bytes);
  }
}

export function blobsOf(image: ImageBody): Blob[] {
  const all = [image.manifest, image.config, ...image.layers];
  return [...new Map(all.map((blob) => [blob.digest, blob])).values()];
}

export class Progress {
  readonly #images = new Map<Digest, Map<Digest, State>>();

  /** Starts to track an image, or goes on; a blob that another image has under way is shared. */
  track(image: Digest, body: ImageBody): void {
    if (this.#images.has(image)) return;
    const oldest = this.#images.keys().next().value;
    if (this.#images.size >= PROGRESS_IMAGES_MAX && oldest !== undefined) this.#images.delete(oldest);
    const states = blobsOf(body).map(({ digest, size }): [Digest, State] => [
      digest,
      this.#find(digest) ?? { digest, size, done: 0, phase: 'waiting', sources: new Map() },
    ]);
    this.#images.set(image, new Map(states));
  }

  /** @returns where to report on a blob; reports on one that is not tracked go nowhere. */
  blob(blob: Blob): BlobState {
    const { digest, size } = blob;
    return new BlobState(
      this.#find(digest) ?? { digest, size, done: 0, phase: 'waiting', sources: new Map() },
    );
  }

  of(image: Digest): BlobProgress[] {
    return [...(this.#images.get(image)?.values() ?? [])].map((state) => ({
      ...state,
      sources: Object.fromEntries(state.sources),
    }));
  }

  #find(digest: Digest): State | undefined {
    for (const states of this.#images.values()) {
      const state = states.get(digest);
      if (state !== undefined) return state;
    }
    return undefined;
  }
}
