/**
 * Where libp2p keeps what it is told: peers and their addresses, and who provides what by the DHT. Its own store in
 * memory has no limit, and members fill it with what they please: by announcements, and by answers to our searches.
 * Here each kind has its own part, of which the oldest goes, so no flood pushes out what this node says of itself, or
 * members by strangers; of announcements it is the oldest of whoever has most. All of it is hints: what is lost is found
 * again, or announced again.
 * Not here: how much of it a peer may send (stream-meter.ts).
 */
import { peerIdFromString } from '@libp2p/peer-id';
import type { createLibp2p } from 'libp2p';
import type { NodeId } from '../base/ids.ts';

type Datastore = NonNullable<NonNullable<Parameters<typeof createLibp2p>[0]>['datastore']>;
type Key = Parameters<Datastore['put']>[0];
type Query = Parameters<Datastore['query']>[0];
type KeyQuery = Parameters<Datastore['queryKeys']>[0];
interface Pair {
  readonly key: Key;
  readonly value: Uint8Array;
}

/** Names as the peer store and kad-dht make them: /peers/<peer>, /dht/provider/<hash>/<peer>. */
const PEERS = '/peers/';
const PROVIDERS = '/dht/provider/';

type Kind = 'self' | 'own' | 'provider' | 'member' | 'stranger' | 'other';

/** Membership knows 16,384 members, and each blob is announced to twenty of them. */
export const ENTRIES_MAX: Readonly<Record<Kind, number>> = {
  // Without it the library tells nobody what this node speaks.
  self: 1,
  own: 16_384,
  provider: 32_768,
  member: 16_384,
  stranger: 1_024,
  other: 1_024,
};
/** What is larger is not kept: a peer with hundreds of addresses. What was there before stays. */
export const VALUE_BYTES_MAX = 16 << 10;
/** Names and values of one kind. An announcement has about 120 bytes, a member one or two thousand. */
export const KIND_BYTES_MAX = 32 << 20;
/** Two hashes and what is around them. */
const NAME_BYTES_MAX = 1024;

interface Entry extends Pair {
  readonly name: string;
  readonly kind: Kind;
}

/** What was put first is first. */
class Part {
  readonly entries = new Map<string, Entry>();
  bytes = 0;
}

export class CappedDatastore implements Datastore {
  readonly #self: NodeId;
  readonly #isMember: (peer: NodeId) => boolean;
  readonly #kinds = new Map<string, Kind>();
  readonly #parts: Readonly<Record<Kind, Part>> = {
    self: new Part(),
    own: new Part(),
    provider: new Part(),
    member: new Part(),
    stranger: new Part(),
    other: new Part(),
  };
  /** By the name of what is provided: everybody may ask for it, as often as for any other. */
  readonly #providers = new Map<string, Set<Entry>>();
  /** What others announce, by who does. */
  readonly #announced = new Map<string, Set<Entry>>();

  constructor(self: NodeId, isMember: (peer: NodeId) => boolean) {
    this.#self = self;
    this.#isMember = isMember;
  }

  put(key: Key, value: Uint8Array): Key {
    const name = key.toString();
    if (value.byteLength > VALUE_BYTES_MAX || name.length > NAME_BYTES_MAX) return key;
    this.#remove(name);
    const kind = this.#kindOf(name);
    const part = this.#parts[kind];
    const entry = { key, value, name, kind };
    part.entries.set(name, entry);
    part.bytes += bytesOf(entry);
    this.#kinds.set(name, kind);
    if (name.startsWith(PROVIDERS)) addTo(this.#providers, parentOf(name), entry);
    if (kind === 'provider') addTo(this.#announced, lastOf(name), entry);
    while (part.entries.size > ENTRIES_MAX[kind] || part.bytes > KIND_BYTES_MAX) {
      const entries = kind === 'provider' ? this.#most() : part.entries.values();
      const [oldest] = entries;
      this.#remove(oldest!.name);
    }
    return key;
  }

  get(key: Key): Uint8Array {
    const entry = this.#entry(key.toString());
    // As the library tells it: by its name.
    if (entry === undefined) throw Object.assign(new Error('not found'), { name: 'NotFoundError' });
    return entry.value;
  }

  has(key: Key): boolean {
    return this.#kinds.has(key.toString());
  }

  delete(key: Key): void {
    this.#remove(key.toString());
  }

  async *putMany(source: Iterable<Pair> | AsyncIterable<Pair>): AsyncGenerator<Key> {
    for await (const { key, value } of source) yield this.put(key, value);
  }

  async *getMany(source: Iterable<Key> | AsyncIterable<Key>): AsyncGenerator<Pair> {
    for await (const key of source) yield { key, value: this.get(key) };
  }

  async *deleteMany(source: Iterable<Key> | AsyncIterable<Key>): AsyncGenerator<Key> {
    for await (const key of source) {
      this.delete(key);
      yield key;
    }
  }

  batch(): ReturnType<Datastore['batch']> {
    const acts: (() => void)[] = [];
    return {
      put: (key, value) => void acts.push(() => this.put(key, value)),
      delete: (key) => void acts.push(() => this.delete(key)),
      commit: () => {
        for (const act of acts.splice(0)) act();
      },
    };
  }

  *query(query: Query): Generator<Pair> {
    const pairs = this.#under(query.prefix).map(({ key, value }) => ({ key, value }));
    yield* select(pairs, query);
  }

  *queryKeys(query: KeyQuery): Generator<Key> {
    yield* select(
      this.#under(query.prefix).map(({ key }) => key),
      query,
    );
  }

  #under(prefix = ''): Entry[] {
    // The question that everybody may ask looks at its answer alone.
    if (prefix.startsWith(PROVIDERS)) return [...(this.#providers.get(prefix) ?? [])];
    return Object.values(this.#parts).flatMap(({ entries }) =>
      [...entries.values()].filter(({ name }) => name.startsWith(prefix)),
    );
  }

  #entry(name: string): Entry | undefined {
    const kind = this.#kinds.get(name);
    return kind === undefined ? undefined : this.#parts[kind].entries.get(name);
  }

  #remove(name: string): void {
    const entry = this.#entry(name);
    if (entry === undefined) return;
    const part = this.#parts[entry.kind];
    part.entries.delete(name);
    part.bytes -= bytesOf(entry);
    this.#kinds.delete(name);
    if (name.startsWith(PROVIDERS)) removeFrom(this.#providers, parentOf(name), entry);
    if (entry.kind === 'provider') removeFrom(this.#announced, lastOf(name), entry);
  }

  /** What whoever announces most has announced. */
  #most(): Iterable<Entry> {
    let most: ReadonlySet<Entry> = new Set();
    for (const announced of this.#announced.values()) if (announced.size > most.size) most = announced;
    return most;
  }

  #kindOf(name: string): Kind {
    if (name.startsWith(PROVIDERS)) return name.endsWith(`/${this.#self}`) ? 'own' : 'provider';
    if (!name.startsWith(PEERS)) return 'other';
    try {
      const peer = peerIdFromString(name.slice(PEERS.length)).toString();
      return peer === this.#self ? 'self' : this.#isMember(peer) ? 'member' : 'stranger';
    } catch {
      return 'other';
    }
  }
}

function parentOf(name: string): string {
  return name.slice(0, name.lastIndexOf('/'));
}

function lastOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}

function addTo(sets: Map<string, Set<Entry>>, name: string, entry: Entry): void {
  const set = sets.get(name);
  if (set === undefined) sets.set(name, new Set([entry]));
  else set.add(entry);
}

function removeFrom(sets: Map<string, Set<Entry>>, name: string, entry: Entry): void {
  const set = sets.get(name);
  set?.delete(entry);
  if (set?.size === 0) sets.delete(name);
}

function bytesOf({ name, value }: Entry): number {
  return name.length + value.byteLength;
}

interface Selection<T> {
  readonly filters?: readonly ((item: T) => boolean)[];
  readonly orders?: readonly ((a: T, b: T) => number)[];
  readonly offset?: number;
  readonly limit?: number;
}

function select<T>(items: T[], { filters = [], orders = [], offset = 0, limit }: Selection<T>): T[] {
  const selected = items.filter((item) => filters.every((filter) => filter(item)));
  for (const order of orders) selected.sort(order);
  return selected.slice(offset, limit === undefined ? undefined : offset + limit);
}
