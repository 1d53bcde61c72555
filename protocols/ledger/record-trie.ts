/**
 * Records in a 16-way trie over 64 bits of place, with count, bytes and fingerprint of every subtree: so that two nodes
 * find what differs between them without listing what does not, and so that one that forks shares what neither
 * changes. Digits in which all records of a subtree agree cost no node. Nodes of the trie belong to one owner, who
 * changes them in place; all others copy first.
 *
 * Source of the comparing: Meyer, "Range-Based Set Reconciliation" (2023); of the digits passed over: Morrison,
 * "PATRICIA" (1968); of the sharing: Bagwell's hash array mapped tries with owner marks, as in Clojure's transients.
 * Not here: what a place means, and what replaces what (ledger.ts).
 */
import type { LedgerRecord } from './record.ts';

/** Records in a leaf before it is split. One of more is all at one place. */
export const LEAF_RECORDS_MAX = 16;
/** A branch of so few is a leaf again. */
const JOINED_MAX = LEAF_RECORDS_MAX / 2;
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

interface Sums {
  readonly owner: Owner;
  count: number;
  bytes: number;
  /** Whether the words below are those of what is here: they are made when they are asked for. */
  isSummed: boolean;
  a: number;
  b: number;
  c: number;
  d: number;
}

/**
 * A class, and copies of empty lists, for the reason that stamps have (record-reader.ts): were they literals, they would
 * be among the old, where a leaf that is gone keeps its records until all of the memory is looked through.
 */
class Leaf implements Sums {
  readonly owner: Owner;
  count: number;
  bytes: number;
  isSummed: boolean;
  a: number;
  b: number;
  c: number;
  d: number;
  readonly items: LedgerRecord[];
  /** The low half of each item's place, signed: so that looking for one is no look at each. */
  readonly lows: number[];
  readonly children = null;

  constructor(owner: Owner, sums: Omit<Sums, 'owner'>, items: LedgerRecord[], lows: number[]) {
    this.owner = owner;
    this.count = sums.count;
    this.bytes = sums.bytes;
    this.isSummed = sums.isSummed;
    this.a = sums.a;
    this.b = sums.b;
    this.c = sums.c;
    this.d = sums.d;
    this.items = items;
    this.lows = lows;
  }
}

interface Branch extends Sums {
  readonly items: null;
  /** By the digit at `depth`; at least two are there. All places below agree with `high` and `low` up to it. */
  readonly children: (TrieNode | undefined)[];
  readonly depth: number;
  readonly high: number;
  readonly low: number;
}

type TrieNode = Leaf | Branch;

/** Records, and beside each the low half of its place, signed. */
export type Near = Readonly<Record<'items', readonly LedgerRecord[]> & Record<'lows', readonly number[]>>;

const NOTHING: Near = { items: [], lows: [] };
const NO_SUMS: Omit<Sums, 'owner'> = { count: 0, bytes: 0, isSummed: true, a: 0, b: 0, c: 0, d: 0 };
const NO_ITEMS: readonly LedgerRecord[] = [];
const NO_LOWS: readonly number[] = [];
/** Digits of the high half. */
const HIGH_DIGITS = 8;

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
  near(high: number, low: number): Near {
    let node = this.#root;
    while (node !== undefined) {
      if (node.items !== null) return node;
      node = node.children[digit(high, low, node.depth)];
    }
    return NOTHING;
  }

  add(record: LedgerRecord): void {
    const high = this.#place.high(record);
    const low = this.#place.low(record);
    let above: Branch | undefined;
    let known = this.#root;
    // Down to where the trie changes its shape, or ends.
    while (known !== undefined && known.items === null && isBelow(known, high, low)) {
      const branch = this.#ownBranch(known);
      this.#put(above, high, low, branch);
      count(branch, record, 1);
      above = branch;
      known = branch.children[digit(high, low, branch.depth)];
    }
    this.#put(above, high, low, this.#added(known, record, high, low));
  }

  /** @param record must be here, and not another object of its name: it would take what is beside it away. */
  remove(record: LedgerRecord): void {
    const high = this.#place.high(record);
    const low = this.#place.low(record);
    this.#assertHeld(record, high, low);
    let above: Branch | undefined;
    let known = this.#root!;
    // Down to what will be a leaf.
    while (known.items === null && known.count - 1 > JOINED_MAX) {
      const branch = this.#ownBranch(known);
      this.#put(above, high, low, branch);
      count(branch, record, -1);
      known = branch.children[digit(high, low, branch.depth)]!;
      if (known.count === 1) {
        branch.children[digit(high, low, branch.depth)] = undefined;
        this.#put(above, high, low, withoutDetour(branch));
        return;
      }
      above = branch;
    }
    this.#put(above, high, low, this.#removed(known, record, high, low));
  }

  /** In the place of what was there; @param above the branch it is in, or undefined for the root. */
  #put(above: Branch | undefined, high: number, low: number, node: TrieNode | undefined): void {
    if (above === undefined) this.#root = node;
    else above.children[digit(high, low, above.depth)] = node;
  }

  /** @param record as of `remove`. @param by has the same place. */
  replace(record: LedgerRecord, by: LedgerRecord): void {
    const high = this.#place.high(record);
    const low = this.#place.low(record);
    this.#assertHeld(record, high, low);
    let node = this.#own(this.#root!);
    this.#root = node;
    for (;;) {
      node.bytes += by.payload_bytes - record.payload_bytes;
      node.isSummed = false;
      if (node.items !== null) break;
      const at = digit(high, low, node.depth);
      const child: TrieNode = this.#own(node.children[at]!);
      node.children[at] = child;
      node = child;
    }
    node.items[node.items.indexOf(record)] = by;
  }

  /** Before anything is changed. */
  #assertHeld(record: LedgerRecord, high: number, low: number): void {
    if (!this.near(high, low).items.includes(record)) throw new Error('what is to go is not here');
  }

  summary(prefix: Prefix): Summary {
    const node = this.#find(prefix);
    const { count, bytes, a, b, c, d } =
      node === undefined ? NO_SUMS : node.items === null ? summed(node) : this.#sumsOf(node, prefix);
    return { count, bytes, words: [a, b, c, d] };
  }

  /** Count and bytes of all whose place begins with these 32 bits. */
  filling(high: number): Pick<Summary, 'count' | 'bytes'> {
    let node = this.#root;
    while (node !== undefined) {
      if (node.items !== null) return this.#fillingOf(node, high);
      if (node.depth >= HIGH_DIGITS) return (node.high ^ high) === 0 ? node : NO_SUMS;
      node = node.children[digit(high, 0, node.depth)];
    }
    return NO_SUMS;
  }

  /** Leaves of a range, in the order of their places; a leaf may hold others than those of the range. */
  *leaves(prefix: Prefix): IterableIterator<readonly LedgerRecord[]> {
    const node = this.#find(prefix);
    if (node === undefined) return;
    for (const { items } of leavesOf(node)) yield items;
  }

  /** Records of a range, in no order. */
  range(prefix: Prefix): LedgerRecord[] {
    return this.outside(prefix, []);
  }

  /** Records of a range that are in none of its parts, in no order. What is in a part is not walked. */
  outside(prefix: Prefix, parts: readonly Prefix[]): LedgerRecord[] {
    const found: LedgerRecord[] = [];
    const node = this.#find(prefix);
    if (node !== undefined) this.#putOutside(found, node, prefix, parts);
    return found;
  }

  /** @param parts those that may hold some of the node's records, and perhaps others. */
  #putOutside(found: LedgerRecord[], node: TrieNode, prefix: Prefix, parts: readonly Prefix[]): void {
    if (node.items !== null) {
      const { items } = node;
      const isOutside = (record: LedgerRecord) =>
        this.isIn(record, prefix) && !parts.some((part) => this.isIn(record, part));
      if (!isAtOnePlace(node)) append(found, items.filter(isOutside));
      else if (isOutside(items[0]!)) append(found, items);
      return;
    }
    if (parts.length === 0) {
      putAllInto(found, node);
      return;
    }
    const common = hexDigits(node.high, node.low).slice(0, node.depth);
    if (parts.some((part) => common.startsWith(part))) return;
    const within = parts.filter((part) => part.startsWith(common));
    for (const [at, child] of node.children.entries()) {
      const digits = common + at.toString(16);
      if (child === undefined || within.includes(digits)) continue;
      const below = within.filter((part) => part.startsWith(digits));
      this.#putOutside(found, child, prefix, below);
    }
  }

  isIn(record: LedgerRecord, prefix: Prefix): boolean {
    return isWithin(this.#place.high(record), this.#place.low(record), prefix);
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
    const node = this.#find(prefix);
    if (node === undefined || node.items !== null) return [];
    const common = hexDigits(node.high, node.low).slice(0, node.depth);
    return node.children.flatMap((child, at) =>
      child === undefined ? [] : [{ prefix: common + at.toString(16), count: child.count }],
    );
  }

  /** The branch that holds a range and nothing else, or the leaf that holds all of it and perhaps more. */
  #find(prefix: Prefix): TrieNode | undefined {
    let node = this.#root;
    while (node !== undefined && node.items === null) {
      if (node.depth >= prefix.length) return isWithin(node.high, node.low, prefix) ? node : undefined;
      node = node.children[hexDigit(prefix, node.depth)];
    }
    return node;
  }

  #sumsOf(leaf: Leaf, prefix: Prefix): Omit<Sums, 'owner'> {
    const isIn = (record: LedgerRecord) => this.isIn(record, prefix);
    if (isAtOnePlace(leaf)) return isIn(leaf.items[0]!) ? summed(leaf) : NO_SUMS;
    if (leaf.items.every(isIn)) return summed(leaf);
    const part = this.#leaf();
    for (const record of leaf.items) if (isIn(record)) put(part, record, 0);
    return summed(part);
  }

  #fillingOf(leaf: Leaf, high: number): Pick<Summary, 'count' | 'bytes'> {
    let [count, bytes] = [0, 0];
    for (const record of leaf.items) {
      if (this.#place.high(record) !== high) continue;
      count += 1;
      bytes += record.payload_bytes;
    }
    return { count, bytes };
  }

  #added(known: TrieNode | undefined, record: LedgerRecord, high: number, low: number): TrieNode {
    if (known === undefined) return this.#leafOf(record, low);
    if (known.items === null && !isBelow(known, high, low)) return this.#parted(known, record, high, low);
    const node = this.#own(known);
    if (node.items !== null) {
      put(node, record, low);
      return this.#isOverfull(node, high, low) ? this.#divided(node) : node;
    }
    count(node, record, 1);
    const at = digit(high, low, node.depth);
    node.children[at] = this.#added(node.children[at], record, high, low);
    return node;
  }

  /** From a leaf, or a branch that is one afterwards: `remove` goes down to it. */
  #removed(known: TrieNode, record: LedgerRecord, high: number, low: number): TrieNode | undefined {
    if (known.count === 1) return undefined;
    const node = this.#own(known);
    count(node, record, -1);
    if (node.items !== null) {
      const { items, lows } = node;
      const at = items.indexOf(record);
      const last = items.pop()!;
      const lastLow = lows.pop()!;
      if (at < items.length) {
        items[at] = last;
        lows[at] = lastLow;
      }
      return node;
    }
    const at = digit(high, low, node.depth);
    node.children[at] = this.#removed(node.children[at]!, record, high, low);
    return this.#joined(node);
  }

  /** A branch of few records as a leaf. */
  #joined(branch: Branch): Leaf {
    const leaf = this.#leaf();
    putAll(leaf, branch);
    return leaf;
  }

  /** @param high of the place of what was put last: what it does not part, it need not be divided for. */
  #isOverfull({ items, lows }: Leaf, high: number, low: number): boolean {
    if (items.length <= LEAF_RECORDS_MAX) return false;
    const wasOverfull = items.length > LEAF_RECORDS_MAX + 1;
    return !wasOverfull || ((lows[0]! ^ low) | (this.#place.high(items[0]!) ^ high)) !== 0;
  }

  /** A leaf that is over full as a branch, unless all of its records have one place. */
  #divided(leaf: Leaf): TrieNode {
    const { items } = leaf;
    const high = this.#place.high(items[0]!);
    const low = this.#place.low(items[0]!);
    let depth = PREFIX_LENGTH_MAX;
    for (const item of items)
      depth = Math.min(depth, firstDifference(high ^ this.#place.high(item), low ^ this.#place.low(item)));
    if (depth === PREFIX_LENGTH_MAX) return leaf;
    const branch = branchOf(this.#owner, leaf, newChildren(), depth, high, low);
    for (const item of items) {
      const at = digit(this.#place.high(item), this.#place.low(item), depth);
      branch.children[at] = this.#added(
        branch.children[at],
        item,
        this.#place.high(item),
        this.#place.low(item),
      );
    }
    return branch;
  }

  /** A branch, and a record that does not share its common digits, under a new one. */
  #parted(branch: Branch, record: LedgerRecord, high: number, low: number): Branch {
    const depth = firstDifference(high ^ branch.high, low ^ branch.low);
    const above = branchOf(this.#owner, branch, newChildren(), depth, high, low);
    count(above, record, 1);
    above.children[digit(branch.high, branch.low, depth)] = branch;
    above.children[digit(high, low, depth)] = this.#leafOf(record, low);
    return above;
  }

  #leafOf(record: LedgerRecord, low: number): Leaf {
    const leaf = this.#leaf();
    put(leaf, record, low);
    return leaf;
  }

  #leaf(): Leaf {
    return new Leaf(this.#owner, NO_SUMS, NO_ITEMS.slice(), NO_LOWS.slice());
  }

  #own(node: TrieNode): TrieNode {
    if (node.items === null) return this.#ownBranch(node);
    if (node.owner === this.#owner) return node;
    return new Leaf(this.#owner, node, node.items.slice(), node.lows.slice());
  }

  #ownBranch(branch: Branch): Branch {
    if (branch.owner === this.#owner) return branch;
    return branchOf(this.#owner, branch, branch.children.slice(), branch.depth, branch.high, branch.low);
  }
}

function branchOf(
  owner: Owner,
  { count, bytes, isSummed, a, b, c, d }: Sums,
  children: (TrieNode | undefined)[],
  depth: number,
  high: number,
  low: number,
): Branch {
  // Places as signed numbers: those need no box.
  return {
    owner,
    count,
    bytes,
    isSummed,
    a,
    b,
    c,
    d,
    items: null,
    children,
    depth,
    high: high | 0,
    low: low | 0,
  };
}

function newChildren(): (TrieNode | undefined)[] {
  return new Array<TrieNode | undefined>(16).fill(undefined);
}

/** What is left of a branch: itself, or the one child that it has. */
function withoutDetour(branch: Branch): TrieNode {
  let only: TrieNode | undefined;
  for (const child of branch.children) {
    if (child === undefined) continue;
    if (only !== undefined) return branch;
    only = child;
  }
  return only!;
}

function count(sums: Sums, record: LedgerRecord, sign: 1 | -1): void {
  sums.count += sign;
  sums.bytes += sign * record.payload_bytes;
  sums.isSummed = false;
}

function put(leaf: Leaf, record: LedgerRecord, low: number): void {
  count(leaf, record, 1);
  leaf.items.push(record);
  leaf.lows.push(low | 0);
}

function putAll(leaf: Leaf, node: TrieNode): void {
  if (node.items === null) {
    for (const child of node.children) if (child !== undefined) putAll(leaf, child);
  } else {
    for (let at = 0; at < node.items.length; at += 1) put(leaf, node.items[at]!, node.lows[at]!);
  }
}

/** With its words. Also of a node that others share: they follow from what is in it. */
function summed<Node extends TrieNode>(node: Node): Node {
  if (node.isSummed) return node;
  let [a, b, c, d] = [0, 0, 0, 0];
  if (node.items !== null) {
    for (const { words } of node.items) {
      a ^= words[0];
      b ^= words[1];
      c ^= words[2];
      d ^= words[3];
    }
  } else {
    for (const child of node.children) {
      if (child === undefined) continue;
      const below = summed(child);
      a ^= below.a;
      b ^= below.b;
      c ^= below.c;
      d ^= below.d;
    }
  }
  node.a = a;
  node.b = b;
  node.c = c;
  node.d = d;
  node.isSummed = true;
  return node;
}

/** One of more than a leaf holds: any of its records shows where all are, and ranges can be asked for by the thousand. */
function isAtOnePlace({ items }: Leaf): boolean {
  return items.length > LEAF_RECORDS_MAX;
}

/** All of them are in the range that was asked for. */
function putAllInto(found: LedgerRecord[], node: TrieNode): void {
  if (node.items !== null) append(found, node.items);
  else for (const child of node.children) if (child !== undefined) putAllInto(found, child);
}

function append(found: LedgerRecord[], items: readonly LedgerRecord[]): void {
  for (let at = 0; at < items.length; at += 1) found.push(items[at]!);
}

function* leavesOf(node: TrieNode): IterableIterator<Leaf> {
  if (node.items !== null) yield node;
  else for (const child of node.children) if (child !== undefined) yield* leavesOf(child);
}

function digit(high: number, low: number, depth: number): number {
  return depth < HIGH_DIGITS ? (high >>> (28 - 4 * depth)) & 15 : (low >>> (60 - 4 * depth)) & 15;
}

/** Whether a place has the digits that all of a branch have in common. */
function isBelow(branch: Branch, high: number, low: number): boolean {
  return firstDifference(high ^ branch.high, low ^ branch.low) >= branch.depth;
}

function hexDigit(prefix: Prefix, depth: number): number {
  const code = prefix.charCodeAt(depth);
  return code < 58 ? code - 48 : code - 87;
}

function hexDigits(high: number, low: number): string {
  return [high, low].map((half) => (half >>> 0).toString(16).padStart(HIGH_DIGITS, '0')).join('');
}

function isWithin(high: number, low: number, prefix: Prefix): boolean {
  for (let depth = 0; depth < prefix.length; depth += 1)
    if (digit(high, low, depth) !== hexDigit(prefix, depth)) return false;
  return true;
}

/** The first digit in which two places differ, by what their halves differ in; PREFIX_LENGTH_MAX for none. */
function firstDifference(high: number, low: number): number {
  if (high !== 0) return Math.clz32(high) >> 2;
  return low === 0 ? PREFIX_LENGTH_MAX : HIGH_DIGITS + (Math.clz32(low) >> 2);
}
