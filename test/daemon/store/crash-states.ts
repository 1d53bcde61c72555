/**
 * What a crash may leave of a directory, from the journal of what was done to it.
 *
 * A process that is killed leaves all that it wrote. A power cut leaves what was synced, and of the rest any part:
 * each sector of each write, each change of a size and each change of a name is there or not, whatever came before it
 * (POSIX promises no more; real file systems keep more order). A name is durable once its directory was synced, bytes
 * once their file was. Not here: what must be true of such a state.
 */
import path from 'node:path';
import type { DiskOp } from './disk-journal.ts';
import type { Random } from './random.ts';

export const SECTOR_BYTES = 512;

/** Paths to contents; null is a directory. */
export type DiskState = ReadonlyMap<string, Buffer | null>;

interface Node {
  readonly isDirectory: boolean;
  /** As last synced, and what was done since. */
  durable: Buffer;
  pending: Change[];
}

type Change =
  | { readonly kind: 'sector'; readonly at: number; readonly data: Buffer }
  | { readonly kind: 'size'; readonly size: number };

interface Naming {
  readonly op: DiskOp;
  readonly node: Node | undefined;
}

export class CrashDisk {
  /** By the number that it has now: numbers are given again. */
  readonly #nodes = new Map<number, Node>();
  /** Names that are durable, and changes of names that are not. */
  readonly #names = new Map<string, Node>();
  #namings: Naming[] = [];

  /** What is there and durable before the first operation. */
  add(file: string, inode: number, content: Buffer | null): void {
    const node: Node = { isDirectory: content === null, durable: content ?? Buffer.alloc(0), pending: [] };
    this.#nodes.set(inode, node);
    this.#names.set(file, node);
  }

  apply(op: DiskOp): void {
    switch (op.op) {
      case 'C':
      case 'D':
        this.#nodes.set(op.inode, { isDirectory: op.op === 'D', durable: Buffer.alloc(0), pending: [] });
        this.#namings.push({ op, node: this.#nodes.get(op.inode) });
        break;
      case 'U':
      case 'R':
      case 'L':
        this.#namings.push({ op, node: this.#nodes.get(op.inode) });
        break;
      case 'W':
        this.#nodes.get(op.inode)?.pending.push(...sectorsOf(op));
        break;
      case 'T':
        this.#nodes.get(op.inode)?.pending.push({ kind: 'size', size: op.at });
        break;
      case 'S':
        this.#sync(op);
        break;
      case 'M':
        break;
    }
  }

  /** How many changes are in doubt now. */
  get doubts(): number {
    let count = this.#namings.length;
    for (const { pending } of this.#nodes.values()) count += pending.length;
    return count;
  }

  /** What is left when only the process dies. */
  killed(): DiskState {
    return this.cutOff(() => true);
  }

  /** What is left when the power fails. @param isThere for each change in doubt, by its number. */
  cutOff(isThere: (doubt: number) => boolean): DiskState {
    let number = 0;
    const names = new Map(this.#names);
    for (const naming of this.#namings) if (isThere(number++)) rename(names, naming);
    const contents = new Map<Node, Buffer>();
    for (const node of this.#nodes.values()) {
      const there = node.pending.filter(() => isThere(number++));
      contents.set(node, changed(node.durable, there));
    }
    const state = new Map<string, Buffer | null>();
    for (const [file, node] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const isRoot = state.size === 0;
      if (!isRoot && !state.has(path.dirname(file))) continue;
      state.set(file, node.isDirectory ? null : (contents.get(node) ?? changed(node.durable, node.pending)));
    }
    return state;
  }

  #sync({ inode, path: file }: DiskOp): void {
    const node = this.#nodes.get(inode);
    if (node === undefined) return;
    node.durable = changed(node.durable, node.pending);
    node.pending = [];
    if (!node.isDirectory) return;
    const isHere = ({ op }: Naming) => path.dirname(op.other === '' ? op.path : op.other) === file;
    for (const naming of this.#namings) if (isHere(naming)) rename(this.#names, naming);
    this.#namings = this.#namings.filter((naming) => !isHere(naming));
  }
}

/**
 * States that a power cut may leave now: every one when there are few, else the extremes and a sample.
 * @param states_max how many are drawn.
 */
export function* cutOffStates(
  disk: CrashDisk,
  random: Random,
  states_max: number,
): IterableIterator<DiskState> {
  const { doubts } = disk;
  if (2 ** doubts <= states_max) {
    for (let bits = 0; bits < 2 ** doubts; bits += 1)
      yield disk.cutOff((doubt) => (bits & (1 << doubt)) !== 0);
    return;
  }
  yield disk.cutOff(() => false);
  yield disk.cutOff(() => true);
  for (let drawn = 2; drawn < states_max; drawn += 1) {
    const chosen = random.below(doubts);
    switch (drawn % 4) {
      case 0:
        yield disk.cutOff((doubt) => doubt !== chosen);
        break;
      case 1:
        yield disk.cutOff((doubt) => doubt === chosen);
        break;
      case 2:
        yield disk.cutOff((doubt) => doubt < chosen);
        break;
      default: {
        const bits = Array.from({ length: doubts }, () => random.below(2) === 1);
        yield disk.cutOff((doubt) => bits[doubt]!);
      }
    }
  }
}

function* sectorsOf({ at, data }: DiskOp): IterableIterator<Change> {
  for (let from = 0; from < data.byteLength; ) {
    const end = Math.min(data.byteLength, from + SECTOR_BYTES - ((at + from) % SECTOR_BYTES));
    yield { kind: 'sector', at: at + from, data: data.subarray(from, end) };
    from = end;
  }
}

function changed(content: Buffer, changes: readonly Change[]): Buffer {
  let size = content.byteLength;
  const room = changes.reduce(
    (most, change) =>
      Math.max(most, change.kind === 'size' ? change.size : change.at + change.data.byteLength),
    size,
  );
  const after = Buffer.alloc(room);
  content.copy(after);
  for (const change of changes) {
    if (change.kind === 'sector') {
      change.data.copy(after, change.at);
      size = Math.max(size, change.at + change.data.byteLength);
    } else {
      if (change.size < size) after.fill(0, change.size);
      size = change.size;
    }
  }
  return after.subarray(0, size);
}

function rename(names: Map<string, Node>, { op, node }: Naming): void {
  if (op.op === 'U') names.delete(op.path);
  else if (node === undefined) return;
  else if (op.op === 'C' || op.op === 'D') names.set(op.path, node);
  else {
    names.set(op.other, node);
    if (op.op === 'R') names.delete(op.path);
  }
}
