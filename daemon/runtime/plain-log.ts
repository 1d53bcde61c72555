/**
 * The logs of the `process` driver: what a process writes to two plain files in append mode, each with one older part.
 * No timestamps, and no order between the two streams. Files are cut by copying and truncating, as the process keeps
 * its descriptors; what it writes in that very moment is lost. Synchronous, so that cutting and reading do not mix.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LineSplitter } from './log-lines.ts';
import type { LogLine } from './runtime.ts';

const READ_BYTES = 64 * 1024;
const FOLLOW_MS = 50;
const STREAMS = ['stdout', 'stderr'] as const;
/** Two streams, each with a current and an older part. */
const PARTS = 4;

type Stream = LogLine['stream'];

export class PlainLog {
  readonly #directory: string;
  readonly #part_bytes_max: number;
  /** How often each file was cut, and how long it was the last time: what a reader needs to go on. */
  readonly #cuts: Record<Stream, { count: number; size: number; kept: number }> = {
    stdout: { count: 0, size: 0, kept: 0 },
    stderr: { count: 0, size: 0, kept: 0 },
  };

  constructor(directory: string, bytes_max: number) {
    this.#directory = directory;
    this.#part_bytes_max = Math.max(1, Math.floor(bytes_max / PARTS));
  }

  /** To be called now and then, and before reading: between calls the files may grow beyond the cap. Never throws. */
  cut(): void {
    for (const stream of STREAMS)
      try {
        this.#cutOne(stream);
      } catch {
        // The disk refuses even that. The next call tries again, and a log is worth less than the daemon.
      }
  }

  async *read(options: {
    follow: boolean;
    tail?: number;
    signal?: AbortSignal;
    ended: () => boolean;
  }): AsyncGenerator<LogLine> {
    this.cut();
    const readers = STREAMS.map((stream) => ({ stream, ...this.#reader(stream) }));
    let past: LogLine[] | null = options.tail === undefined ? null : [];
    const tail = options.tail ?? 0;
    while (!options.signal?.aborted) {
      const ended = options.ended() || !options.follow;
      for (const { stream, next, splitter } of readers)
        for (let chunk = next(); chunk !== null; chunk = next())
          for (const text of splitter.push(chunk)) {
            if (past === null) yield { at_ms: null, stream, text };
            else past.push({ at_ms: null, stream, text });
          }
      if (ended) {
        const rest = readers.flatMap(({ stream, splitter }) =>
          splitter.flush().map((text) => ({ at_ms: null, stream, text })),
        );
        yield* past === null ? rest : lastOf([...past, ...rest], tail);
        return;
      }
      if (past !== null) yield* lastOf(past, tail);
      past = null;
      await sleep(FOLLOW_MS, undefined, options.signal ? { signal: options.signal } : {}).catch(
        () => undefined,
      );
    }
  }

  #cutOne(stream: Stream): void {
    const file = open(path.join(this.#directory, stream), 'r+');
    if (file === null) return;
    try {
      const { size } = fstatSync(file);
      if (size <= this.#part_bytes_max) return;
      const kept = Math.min(size, this.#part_bytes_max);
      const buffer = Buffer.alloc(kept);
      const length = readSync(file, buffer, 0, kept, size - kept);
      const newest = buffer.subarray(0, length);
      const older = path.join(this.#directory, `${stream}.1`);
      const isReplaced = replace(older, newest);
      ftruncateSync(file, 0);
      // On a full disk the room that has just come free may do. Else these lines are lost, and not the host.
      const isKept = isReplaced || overwrite(older, newest);
      const { count } = this.#cuts[stream];
      this.#cuts[stream] = { count: count + 1, size, kept: isKept ? length : 0 };
    } finally {
      closeSync(file);
    }
  }

  #reader(stream: Stream): { next: () => Buffer | null; splitter: LineSplitter } {
    const current = path.join(this.#directory, stream);
    const older = `${current}.1`;
    let seen = this.#cuts[stream].count;
    let inOlder = true;
    let offset = 0;
    const next = (): Buffer | null => {
      const cuts = this.#cuts[stream];
      if (cuts.count !== seen) {
        // What was not yet read of the file is now at the end of the older part.
        const unread = cuts.count === seen + 1 && !inOlder ? cuts.size - offset : cuts.kept;
        offset = Math.max(0, cuts.kept - unread);
        inOlder = true;
        seen = cuts.count;
      }
      const chunk = readAt(inOlder ? older : current, offset);
      if (chunk !== null) {
        offset += chunk.length;
        return chunk;
      }
      if (!inOlder) return null;
      inOlder = false;
      offset = 0;
      return next();
    };
    return { next, splitter: new LineSplitter() };
  }
}

function lastOf(lines: LogLine[], count: number): LogLine[] {
  return count <= 0 ? [] : lines.slice(-count);
}

/** Whole or not at all; whether it could. */
function replace(file: string, bytes: Uint8Array): boolean {
  try {
    writeFileSync(`${file}.tmp`, bytes, { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
    return true;
  } catch {
    remove(`${file}.tmp`);
    return false;
  }
}

/** In the place of what was there, which goes in any case; whether it could. */
function overwrite(file: string, bytes: Uint8Array): boolean {
  try {
    writeFileSync(file, bytes, { mode: 0o600 });
    return true;
  } catch {
    remove(file);
    return false;
  }
}

function remove(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // It stays, and costs no more room than before.
  }
}

function open(file: string, mode: string): number | null {
  try {
    return openSync(file, mode);
  } catch {
    return null;
  }
}

function readAt(file: string, offset: number): Buffer | null {
  const descriptor = open(file, 'r');
  if (descriptor === null) return null;
  try {
    const buffer = Buffer.alloc(READ_BYTES);
    const length = readSync(descriptor, buffer, 0, READ_BYTES, offset);
    return length === 0 ? null : buffer.subarray(0, length);
  } finally {
    closeSync(descriptor);
  }
}
