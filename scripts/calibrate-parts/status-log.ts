/**
 * What daemons hold of one another, from their logs: each line has the time of the event itself, by the clock that all
 * processes of a machine share, and to read a file costs the daemons nothing.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { NodeId } from '../../protocols/base/ids.ts';
import type { MemberStatus } from '../../protocols/view/view.ts';

const LINE = /^a member is (alive|suspect|failed)$/;

export interface Sight {
  readonly status: MemberStatus;
  /** Milliseconds since 1970. */
  readonly since_ms: number;
}

/** One daemon's log, from where it is when this begins: whom it says nothing of is alive until then. */
export class StatusLog implements Disposable {
  readonly #file: number;
  readonly #sights = new Map<NodeId, Sight>();
  #offset: number;
  #rest = '';

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    this.#offset = fstatSync(this.#file).size;
  }

  /** Takes in what was written since. */
  read(): void {
    const size = fstatSync(this.#file).size - this.#offset;
    if (size <= 0) return;
    const bytes = Buffer.alloc(size);
    const got = readSync(this.#file, bytes, 0, size, this.#offset);
    this.#offset += got;
    const lines = (this.#rest + bytes.toString('latin1', 0, got)).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#take(line);
  }

  /** Undefined: alive all the time. */
  sight(member: NodeId): Sight | undefined {
    return this.#sights.get(member);
  }

  /** Its daemon has ended: the next one knows what it learns. */
  reset(): void {
    this.read();
    this.#sights.clear();
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #take(line: string): void {
    let said: { at?: string; message?: string; member?: string };
    try {
      said = JSON.parse(line);
    } catch {
      // Node.js itself may write a warning.
      return;
    }
    const status = LINE.exec(said.message ?? '')?.[1] as MemberStatus | undefined;
    if (status !== undefined) this.#sights.set(said.member!, { status, since_ms: Date.parse(said.at!) });
  }
}
