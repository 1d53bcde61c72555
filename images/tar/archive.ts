/**
 * Tar archives, read and written as streams. The one importer of tar-stream.
 * Not here: what may be in an archive (images/core/layer-rules.ts).
 * Sources: POSIX.1-2001 pax interchange format; GNU tar manual, "Extended attributes" (SCHILY.xattr).
 */
import { Readable } from 'node:stream';
import { extract, type Header, type Pack, pack } from 'tar-stream';

export type ArchiveType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'link'
  | 'character'
  | 'block'
  | 'fifo'
  | 'unsupported';

export interface ArchiveEntry {
  readonly path: string;
  readonly type: ArchiveType;
  /** Bytes of content. */
  readonly size: number;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the Unix epoch. */
  readonly mtime_s: number;
  /** Target of a symlink or hard link, else ''. */
  readonly link: string;
  readonly major: number;
  readonly minor: number;
  /** Extended attributes, by full name such as `user.mime`. */
  readonly xattrs: Readonly<Record<string, string>>;
}

const XATTR = 'SCHILY.xattr.';
/** What the octal fields of a ustar header hold; larger ids go to a pax header. */
const ID_MAX = 0o777777;
const MTIME_MAX_S = 2 ** 31 - 1;
const TYPES: Readonly<Record<string, ArchiveType>> = {
  file: 'file',
  'contiguous-file': 'file',
  directory: 'directory',
  symlink: 'symlink',
  link: 'link',
  'character-device': 'character',
  'block-device': 'block',
  fifo: 'fifo',
};

function number(value: string | undefined, otherwise: number | undefined): number {
  const parsed = value === undefined ? Number.NaN : Number(value);
  return Number.isSafeInteger(parsed) && parsed >= 0 ? parsed : Math.max(0, otherwise || 0);
}

function entryOf(header: Header): ArchiveEntry {
  const pax = (header.pax ?? {}) as Record<string, string>;
  const xattrs: Record<string, string> = {};
  for (const [key, value] of Object.entries(pax)) {
    // A value that was not UTF-8 has been damaged by the decoder: none is better than a wrong one.
    if (key.startsWith(XATTR) && !value.includes('\ufffd')) xattrs[key.slice(XATTR.length)] = value;
  }
  const foreign = Object.keys(pax).some((key) => key.startsWith('GNU.sparse.'));
  return {
    path: header.name,
    type: foreign ? 'unsupported' : (TYPES[header.type] ?? 'unsupported'),
    size: header.size ?? 0,
    mode: (header.mode ?? 0) & 0o7777,
    uid: number(pax.uid, header.uid),
    gid: number(pax.gid, header.gid),
    mtime_s: Math.min(MTIME_MAX_S, Math.max(0, Math.floor((header.mtime?.getTime() ?? 0) / 1000) || 0)),
    link: header.linkname ?? '',
    major: header.devmajor ?? 0,
    minor: header.devminor ?? 0,
    xattrs,
  };
}

/**
 * Reads an archive in order; the handler must read `body` to its end, or leave it alone to skip it.
 * @throws Error on what is no tar archive, and whatever `source` or `onEntry` throws. Headers over 4 MiB are refused.
 */
export async function readArchive(
  source: Readable,
  onEntry: (entry: ArchiveEntry, body: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const extractor = extract();
  const onError = (error: Error) => extractor.destroy(error);
  source.on('error', onError);
  source.pipe(extractor as unknown as NodeJS.WritableStream);
  try {
    for await (const stream of extractor) {
      await onEntry(entryOf(stream.header), stream as unknown as AsyncIterable<Uint8Array>);
      if (!stream.destroyed) stream.resume();
    }
  } finally {
    source.off('error', onError);
    source.on('error', () => undefined);
    source.destroy();
  }
}

/** Bytes written and not yet read before `add` waits. */
const AHEAD_BYTES_MAX = 1 << 20;

/** Writes an archive; the same entries give the same bytes. */
export class ArchiveWriter {
  readonly #pack: Pack = pack();
  /** The archive's bytes; must be read for the writer to go on. */
  readonly output: Readable;
  #ahead_bytes = 0;
  #resume: () => void = () => undefined;
  #failed: Error | undefined;

  constructor() {
    // tar-stream gives no backpressure for entries without content, so the bytes are counted here.
    const push = this.#pack.push.bind(this.#pack);
    this.#pack.push = (chunk: Uint8Array | null) => {
      this.#ahead_bytes += chunk?.byteLength ?? 0;
      return push(chunk);
    };
    this.output = Readable.from(this.#counted(), { objectMode: false });
    this.output.on('error', () => undefined);
    this.output.on('close', () => this.#resume());
  }

  /** @param body `entry.size` bytes; only for files. */
  async add(entry: ArchiveEntry, body?: AsyncIterable<Uint8Array>): Promise<void> {
    const pax: Record<string, string> = {};
    for (const [name, value] of Object.entries(entry.xattrs)) pax[XATTR + name] = value;
    if (entry.uid > ID_MAX) pax.uid = String(entry.uid);
    if (entry.gid > ID_MAX) pax.gid = String(entry.gid);
    const header: Partial<Header> & { name: string } = {
      name: entry.path,
      type: headerType(entry.type),
      size: entry.type === 'file' ? entry.size : 0,
      // tar-stream takes a mode of 0 for "not given"; it masks the bits above, so one of those says "given".
      mode: entry.mode | 0o100000,
      uid: Math.min(entry.uid, ID_MAX),
      gid: Math.min(entry.gid, ID_MAX),
      mtime: new Date(entry.mtime_s * 1000),
      ...(entry.link === '' ? {} : { linkname: entry.link }),
      devmajor: entry.major,
      devminor: entry.minor,
      ...(Object.keys(pax).length > 0 ? { pax } : {}),
    };
    await new Promise<void>((resolve, reject) => {
      const sink = this.#pack.entry(header, (error) => (error ? reject(error) : resolve()));
      sink.on('error', reject);
      if (header.type !== 'file') {
        sink.end(null);
        return;
      }
      feed(sink, body ?? nothing()).catch((error: unknown) => {
        sink.destroy(error as Error);
        reject(error);
      });
    });
    while (this.#ahead_bytes > AHEAD_BYTES_MAX && !this.output.destroyed) {
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
    }
    if (this.#failed !== undefined) throw this.#failed;
    if (this.output.destroyed) throw new Error('the reader of the archive is gone');
  }

  end(): void {
    this.#pack.finalize();
  }

  destroy(error: Error): void {
    this.#failed = error;
    this.#pack.on('error', () => undefined);
    this.#pack.destroy(error);
    this.output.destroy(error);
  }

  async *#counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#pack as AsyncIterable<Uint8Array>) {
      this.#ahead_bytes -= chunk.byteLength;
      this.#resume();
      yield chunk;
    }
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function headerType(type: ArchiveType): Header['type'] {
  if (type === 'unsupported') throw new RangeError('no such entry can be written');
  return type === 'character' ? 'character-device' : type === 'block' ? 'block-device' : type;
}

async function feed(sink: ReturnType<Pack['entry']>, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (!sink.write(chunk)) await new Promise<void>((resolve) => sink.once('drain', () => resolve()));
  }
  sink.end(null);
}
