/** Who holds a blob, by the DHT: hints that may be old or missing, never a decision. */
import { CID } from 'multiformats/cid';
import * as raw from 'multiformats/codecs/raw';
import * as multihash from 'multiformats/hashes/digest';
import { type Digest, fromHex, type NodeId } from '../base/ids.ts';
import type { MeshNode } from './libp2p-node.ts';
import type { MeshInit } from './mesh.ts';

/** Multicodec table: sha2-256. */
const SHA2_256 = 0x12;
const SEARCH_TIMEOUT_MS = 10_000;

export class ProviderHints {
  readonly #node: MeshNode;
  readonly #init: MeshInit;
  /** Searches under way. */
  #searches = 0;

  constructor(node: MeshNode, init: MeshInit) {
    this.#node = node;
    this.#init = init;
  }

  /** A search has to reach members that we are not connected to; at other times the DHT may not dial. */
  get searching(): boolean {
    return this.#searches > 0;
  }

  async provide(digest: Digest): Promise<void> {
    this.#searches++;
    try {
      const signal = AbortSignal.timeout(SEARCH_TIMEOUT_MS);
      await this.#node.contentRouting.provide(cidOf(digest), { signal });
    } catch (error) {
      this.#init.log('debug', 'announcing to the DHT failed', { digest, error: String(error) });
    } finally {
      this.#searches--;
    }
  }

  /** Members other than this node, each once. Never throws. */
  async *find(digest: Digest, cancel: AbortSignal | undefined): AsyncIterable<NodeId> {
    const timeout = AbortSignal.timeout(SEARCH_TIMEOUT_MS);
    const signal = cancel === undefined ? timeout : AbortSignal.any([cancel, timeout]);
    const seen = new Set<NodeId>([this.#node.peerId.toString()]);
    this.#searches++;
    try {
      for await (const provider of this.#node.contentRouting.findProviders(cidOf(digest), { signal })) {
        const id = provider.id.toString();
        if (seen.has(id) || !this.#init.isMember(id)) continue;
        seen.add(id);
        yield id;
      }
    } catch (error) {
      this.#init.log('debug', 'searching the DHT ended early', { digest, error: String(error) });
    } finally {
      this.#searches--;
    }
  }
}

/** A digest as the DHT knows it: CIDv1, raw codec, sha2-256. */
function cidOf(digest: Digest): CID {
  const hash = fromHex(digest.slice('sha256:'.length));
  return CID.createV1(raw.code, multihash.create(SHA2_256, hash));
}
