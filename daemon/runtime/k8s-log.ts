/**
 * Reads the log that conmon writes (`k8s-file`: timestamp, stream, F or P for a full or partial line, text) and keeps
 * one older generation of it. conmon begins a new file when the log has its size; a hard link holds on to the old one.
 */
import { linkSync, renameSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LineSplitter } from './log-lines.ts';
import type { LogLine } from './runtime.ts';

const READ_BYTES = 64 * 1024;
const FOLLOW_MS = 50;
const NEWLINE = 10;

type Stream = LogLine['stream'];
const CURRENT = 'log';
const HELD = 'log.held';
const OLDER = 'log.1';

/** Where conmon writes. */
export function k8sLogPath(directory: string): string {
  return path.join(directory, CURRENT);
}

function inode(file: string): number | null {
  return statSync(file, { throwIfNoEntry: false })?.ino ?? null;
}

/**
 * Keeps the generation that conmon has just left. To be called now and then; generations left in between are lost, and
 * so is one that a full or read-only disk does not let it keep: it never throws.
 * Synchronous, so that readers and the driver's timer cannot do it by halves.
 */
export function keepOlderLog(directory: string): void {
  try {
    keepOlder(directory);
  } catch {
    // The log that is there can be read and written all the same.
  }
}

function keepOlder(directory: string): void {
  const current = path.join(directory, CURRENT);
  const held = path.join(directory, HELD);
  const now = inode(current);
  const last = inode(held);
  if (now === null || now === last) return;
  if (last !== null) renameSync(held, path.join(directory, OLDER));
  linkSync(current, held);
}

/** Lines of both streams out of bytes of the k8s-file format. Pure. */
export class K8sLogParser {
  #rest: Buffer = Buffer.alloc(0);
  readonly #splitters: Record<Stream, LineSplitter> = {
    stdout: new LineSplitter(),
    stderr: new LineSplitter(),
  };
  readonly #last: Record<Stream, number | null> = { stdout: null, stderr: null };

  push(chunk: Uint8Array): LogLine[] {
    const lines: LogLine[] = [];
    let rest = Buffer.concat([this.#rest, chunk]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      lines.push(...this.#entry(rest.subarray(0, end)));
      rest = rest.subarray(end + 1);
    }
    this.#rest = Buffer.from(rest);
    return lines;
  }

  flush(): LogLine[] {
    return (['stdout', 'stderr'] as const).flatMap((stream) =>
      this.#splitters[stream].flush().map((text) => ({ at_ms: this.#last[stream], stream, text })),
    );
  }

  #entry(entry: Buffer): LogLine[] {
    // 2026-01-01T00:00:00.000000000+00:00 stdout F text
    const head = /^(\S+) (stdout|stderr) ([FP])(?: |$)/.exec(entry.toString('latin1', 0, 64));
    if (!head) return [];
    const stream = head[2] as Stream;
    const at_ms = Date.parse(head[1]!.replace(/(\.\d{3})\d+/, '$1'));
    this.#last[stream] = Number.isFinite(at_ms) ? at_ms : null;
    const splitter = this.#splitters[stream];
    const texts = splitter.push(entry.subarray(head[0].length));
    if (head[3] === 'F') texts.push(...splitter.push(Buffer.from([NEWLINE])));
    return texts.map((text) => ({ at_ms: this.#last[stream], stream, text }));
  }
}

/** Goes through the kept generations and then, until `ended`, waits for more. */
export async function* readK8sLog(
  directory: string,
  options: { follow: boolean; tail?: number; signal?: AbortSignal; ended: () => boolean },
): AsyncGenerator<LogLine> {
  const parser = new K8sLogParser();
  keepOlderLog(directory);
  let file = await openLog(path.join(directory, CURRENT));
  const older = await newerLog(path.join(directory, OLDER), file);
  // Until the end of what was there: lines wait here so that only the last of them are given.
  let past: LogLine[] | null = options.tail === undefined ? null : [];
  const give = (lines: LogLine[]): LogLine[] => {
    if (past === null) return lines;
    past.push(...lines);
    if (past.length > 2 * (options.tail ?? 0)) past = last(past, options.tail ?? 0);
    return [];
  };
  try {
    if (older) for await (const chunk of chunks(older)) yield* give(parser.push(chunk));
    await older?.close();
    for (;;) {
      if (options.signal?.aborted) return;
      const ended = options.ended();
      if (file) for await (const chunk of chunks(file)) yield* give(parser.push(chunk));
      if (past !== null && !(ended || !options.follow)) {
        yield* last(past, options.tail ?? 0);
        past = null;
      }
      const next = await newerLog(path.join(directory, CURRENT), file);
      if (next) {
        if (file) for await (const chunk of chunks(file)) yield* give(parser.push(chunk));
        await file?.close();
        file = next;
        continue;
      }
      if (ended || !options.follow) break;
      await sleep(FOLLOW_MS, undefined, options.signal ? { signal: options.signal } : {}).catch(
        () => undefined,
      );
    }
    const rest = give(parser.flush());
    yield* past === null ? rest : last(past, options.tail ?? 0);
  } finally {
    await older?.close().catch(() => undefined);
    await file?.close();
  }
}

function last(lines: LogLine[], count: number): LogLine[] {
  return count <= 0 ? [] : lines.slice(-count);
}

type File = Awaited<ReturnType<typeof open>>;

function openLog(file: string): Promise<File | null> {
  return open(file, 'r').catch(() => null);
}

/** Opens what is at `place`, unless it is `file` itself. */
async function newerLog(place: string, file: File | null): Promise<File | null> {
  const now = inode(place);
  if (now === null || (file && (await file.stat()).ino === now)) return null;
  return openLog(place);
}

/** From the file's position to its end as of now. */
async function* chunks(file: File): AsyncGenerator<Buffer> {
  for (;;) {
    const buffer = Buffer.alloc(READ_BYTES);
    const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
