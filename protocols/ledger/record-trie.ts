/**
 * Records in a 16-way trie over 64 bits of place, with count, bytes and fingerprint of every subtree: so that two nodes
 * find what differs between them without listing what does not, and so that one that forks shares what neither
 * changes. Nodes of the trie belong to one owner, who changes them in place; all others copy first.
 *
 * Source of the comparing: Meyer, "Range-Based Set Reconciliation" (2023); of the sharing: Bagwell's hash array mapped
 * tries with owner marks, as in Clojure's transients.
 * Not here: what a place means, and what replaces what (ledger.ts).
 */
import type { LedgerRecord } from './record.ts';

/** Records in a leaf before it is split. */
const LEAF_RECORDS_MAX = 16;
/** Hex digits of a place. */
export const PREFIX_LENGTH_MAX = 16;

/** Where a record is: two unsigned 32-bit halves, the high one first. */
export interface Place {
  high(record: LedgerRecord): number;
  low(record: LedgerRecord): number;
}

/** Hex digits: the records whose places begin with them. '' is all. */
export type Prefix = string;

/** What is in a range: equal sets have equal summaries. `words` is the XOR of the records' fingerprints. */
export interface Summary {
  readonly count: number;
  readonly bytes: number;
  readonly words: readonly [number, number, number, number];
}

type Owner = object;

/** Either a leaf (`items`) or a branch (`children`). */
interface TrieNode {
  readonly owner: Owner;
  count: number;
  bytes: number;
  a: number;
  b: number;
  c: number;
  d: number;
  items: LedgerRecord[] | null;
  children: (TrieNode | undefined)[] | null;
}

const NOTHING: readonly LedgerRecord[] = [];

export class RecordTrie {
  readonly #place: Place;
  #owner: Owner = {};
  #root: TrieNode | undefined;

  constructor(place: Place) {
    this.#place = place;
  }

  /** An equal trie; from now on neither sees what the other changes. */
  fork(): RecordTrie {
    const fork = new RecordTrie(this.#place);
    fork.#root = this.#root;
    this.#owner = {};
    return fork;
  }

  get count(): number {
    return this.#root?.count ?? 0;
  }

  /** The records near a place, all of that place among them. Not to be kept: the next change may alter it. */
  near(high: number, low: number): readonly LedgerRecord[] {
    let node = this.#root;
    for (let depth = 0; node !== undefined; depth += 1) {
      if (node.items !== null) return node.items;
      node = node.children![digit(high, low, depth)];
    }
    return NOTHING;
  }

  add(record: LedgerRecord): void {
    const high = this.#place.high(record);
    const low = this.#place.low(record);
    this.#root = this.#added(this.#root, record, high, low, 0);
  }

  /** @param record must be here. */
  remove(record: LedgerRecord): void {
    const high = this.#place.high(record);
    const low = this.#place.low(record);
    this.#root = this.#removed(this.#root!, record, high, low, 0);
  }

  summary(prefix: Prefix): Summary {
    const { node, isWhole } = this.#find(prefix);
    if (node === undefined) return { count: 0, bytes: 0, words: [0, 0, 0, 0] };
    if (isWhole) return { count: node.count, bytes: node.bytes, words: [node.a, node.b, node.c, node.d] };
    let [count, bytes, a, b, c, d] = [0, 0, 0, 0, 0, 0];
    for (const record of this.range(prefix)) {
      const { words } = record;
      count += 1;
      bytes += record.bytes.byteLength;
      a ^= words[0];
      b ^= words[1];
      c ^= words[2];
      d ^= words[3];
    }
    return { count, bytes, words: [a, b, c, d] };
  }

  /** Leaves of a range, in the order of their places; a leaf may hold others than those of the range. */
  *leaves(prefix: Prefix): IterableIterator<readonly LedgerRecord[]> {
    const { node } = this.#find(prefix);
    if (node !== undefined) yield* leavesOf(node);
  }

  /** Records of a range, in no order. */
  *range(prefix: Prefix): IterableIterator<LedgerRecord> {
    for (const leaf of this.leaves(prefix)) {
      for (const record of leaf) if (this.isIn(record, prefix)) yield record;
    }
  }

  isIn(record: LedgerRecord, prefix: Prefix): boolean {
    const high = this.#place.high(record);
    const low = this.#place.low(record);
    for (let depth = 0; depth < prefix.length; depth += 1) {
      if (digit(high, low, depth) !== hexDigit(prefix, depth)) return false;
    }
    return true;
  }

  /**
   * Divides a range into at most `parts_max` smaller ones that hold all of its records, the fullest divided first.
   * @returns prefixes, none of them empty.
   */
  divide(prefix: Prefix, parts_max: number): Prefix[] {
    const done: Prefix[] = [];
    const open: { prefix: Prefix; count: number }[] = [{ prefix, count: this.summary(prefix).count }];
    while (open.length > 0 && done.length + open.length + 15 <= parts_max) {
      open.sort((one, other) => one.count - other.count);
      const fullest = open.pop()!;
      const parts = this.#parts(fullest.prefix);
      if (parts.length === 0) done.push(fullest.prefix);
      else open.push(...parts);
    }
    return [...done, ...open.map((part) => part.prefix)].sort();
  }

  /** None when the range is a leaf already. */
  #parts(prefix: Prefix): { prefix: Prefix; count: number }[] {
    const { node, isWhole } = this.#find(prefix);
    if (!isWhole || node?.children == null) return [];
    return node.children.flatMap((child, at) =>
      child === undefined ? [] : [{ prefix: prefix + at.toString(16), count: child.count }],
    );
  }

  /** The node that holds a range, and whether it holds nothing else. */
  #find(prefix: Prefix): { node: TrieNode | undefined; isWhole: boolean } {
    let node = this.#root;
    for (let depth = 0; depth < prefix.length; depth += 1) {
      if (node === undefined) return { node, isWhole: true };
      if (node.children === null) return { node, isWhole: false };
      node = node.children[hexDigit(prefix, depth)];
    }
    return { node, isWhole: true };
  }

  #added(
    known: TrieNode | undefined,
    record: LedgerRecord,
    high: number,
    low: number,
    depth: number,
  ): TrieNode {
    const node = known === undefined ? this.#leaf() : this.#own(known);
    count(node, record, 1);
    if (node.items !== null) {
      node.items.push(record);
      if (node.items.length > LEAF_RECORDS_MAX && depth < PREFIX_LENGTH_MAX) this.#split(node, depth);
    } else {
      const at = digit(high, low, depth);
      node.children![at] = this.#added(node.children![at], record, high, low, depth + 1);
    }
    return node;
  }

  #removed(
    known: TrieNode,
    record: LedgerRecord,
    high: number,
    low: number,
    depth: number,
  ): TrieNode | undefined {
    if (known.count === 1) return undefined;
    const node = this.#own(known);
    count(node, record, -1);
    if (node.items !== null) {
      const at = node.items.indexOf(record);
      const last = node.items.pop()!;
      if (at < node.items.length) node.items[at] = last;
      return node;
    }
    const at = digit(high, low, depth);
    node.children![at] = this.#removed(node.children![at]!, record, high, low, depth + 1);
    if (node.count <= LEAF_RECORDS_MAX / 2) {
      node.items = [...leavesOf(node)].flat();
      node.children = null;
    }
    return node;
  }

  #split(node: TrieNode, depth: number): void {
    const items = node.items!;
    node.items = null;
    node.children = new Array<TrieNode | undefined>(16).fill(undefined);
    for (const item of items) {
      const high = this.#place.high(item);
      const low = this.#place.low(item);
      const at = digit(high, low, depth);
      node.children[at] = this.#added(node.children[at], item, high, low, depth + 1);
    }
  }

  #leaf(): TrieNode {
    return { owner: this.#owner, count: 0, bytes: 0, a: 0, b: 0, c: 0, d: 0, items: [], children: null };
  }

  #own(node: TrieNode): TrieNode {
    if (node.owner === this.#owner) return node;
    return {
      owner: this.#owner,
      count: node.count,
      bytes: node.bytes,
      a: node.a,
      b: node.b,
      c: node.c,
      d: node.d,
      items: node.items === null ? null : node.items.slice(),
      children: node.children === null ? null : node.children.slice(),
    };
  }
}

function count(node: TrieNode, record: LedgerRecord, sign: 1 | -1): void {
  const { words } = record;
  node.count += sign;
  node.bytes += sign * record.bytes.byteLength;
  node.a ^= words[0];
  node.b ^= words[1];
  node.c ^= words[2];
  node.d ^= words[3];
}

function* leavesOf(node: TrieNode): IterableIterator<LedgerRecord[]> {
  if (node.items !== null) yield node.items;
  else for (const child of node.children!) if (child !== undefined) yield* leavesOf(child);
}

function digit(high: number, low: number, depth: number): number {
  return depth < 8 ? (high >>> (28 - 4 * depth)) & 15 : (low >>> (60 - 4 * depth)) & 15;
}

function hexDigit(prefix: Prefix, depth: number): number {
  const code = prefix.charCodeAt(depth);
  return code < 58 ? code - 48 : code - 87;
}
