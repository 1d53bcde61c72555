/** Images that tests make themselves: small trees, layers of random bytes, layouts and archives. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { linuxPlatform } from '../../images/core/platform.ts';
import { type ArchiveEntry, ArchiveWriter } from '../../images/tar/archive.ts';
import type { Digest } from '../../protocols/base/ids.ts';

export const PLATFORM = linuxPlatform(process.arch);
export const isRoot = process.geteuid?.() === 0;

/** A directory that is removed after the test, whatever became of it. */
export async function temporary(t: { teardown(fn: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-images-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export type Entry = Partial<ArchiveEntry> & { path: string; content?: Uint8Array | string };

/** A tar archive with exactly these entries, however odd. */
export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = new ArchiveWriter();
  const chunks: Buffer[] = [];
  const read = (async () => {
    for await (const chunk of archive.output) chunks.push(chunk as Buffer);
  })();
  for (const { content, ...given } of entries) {
    const bytes = Buffer.from(content ?? '');
    const type = given.type ?? 'file';
    await archive.add(
      {
        mode: type === 'directory' ? 0o755 : 0o644,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        link: '',
        major: 0,
        minor: 0,
        xattrs: {},
        size: bytes.byteLength,
        type,
        ...given,
      },
      (async function* () {
        yield bytes;
      })(),
    );
  }
  archive.end();
  await read;
  return Buffer.concat(chunks);
}

export interface MadeImage {
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly layers: readonly { readonly blob: Buffer; readonly tar: Buffer; readonly mediaType: string }[];
  readonly digest: Digest;
}

const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
const PLAIN = 'application/vnd.oci.image.layer.v1.tar';

/** @param options.plain layers are not compressed: random content then keeps its size. */
export async function makeImage(
  layers: readonly (readonly Entry[])[],
  options: { plain?: boolean; config?: Record<string, unknown>; platform?: string } = {},
): Promise<MadeImage> {
  const made = await Promise.all(
    layers.map(async (entries) => {
      const tar = await tarOf(entries);
      const blob = options.plain ? tar : gzipSync(tar);
      return { tar, blob, mediaType: options.plain ? PLAIN : GZIP };
    }),
  );
  const [os, architecture] = (options.platform ?? PLATFORM).split('/');
  const config = Buffer.from(
    JSON.stringify({
      os,
      architecture,
      config: { Cmd: ['/bin/app'], Env: ['A=b'], ...options.config },
      rootfs: { type: 'layers', diff_ids: made.map((layer) => digestOf(layer.tar)) },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: digestOf(config),
        size: config.byteLength,
      },
      layers: made.map(({ blob, mediaType }) => ({
        mediaType,
        digest: digestOf(blob),
        size: blob.byteLength,
      })),
    }),
  );
  return { manifest, config, layers: made, digest: digestOf(manifest) };
}

/** An image of some megabytes in `count` layers that do not compress. */
export function bigImage(bytes: number, count = 1): Promise<MadeImage> {
  const layers = Array.from({ length: count }, (_, at) => [
    { path: `data-${at}`, content: randomBytes(Math.floor(bytes / count)) },
  ]);
  return makeImage(layers, { plain: true });
}

export interface LayoutEntry {
  readonly image: MadeImage;
  readonly annotations?: Record<string, string>;
  readonly platform?: { os: string; architecture: string };
}

/** The files of an OCI layout. */
export function layoutFiles(entries: readonly LayoutEntry[]): Map<string, Buffer> {
  const files = new Map<string, Buffer>([
    ['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
    [
      'index.json',
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          manifests: entries.map(({ image, annotations, platform }) => ({
            mediaType: 'application/vnd.oci.image.manifest.v1+json',
            digest: image.digest,
            size: image.manifest.byteLength,
            ...(annotations ? { annotations } : {}),
            ...(platform ? { platform } : {}),
          })),
        }),
      ),
    ],
  ]);
  for (const { image } of entries) {
    for (const blob of [image.manifest, image.config, ...image.layers.map((layer) => layer.blob)]) {
      files.set(blobFile(blob), blob);
    }
  }
  return files;
}

export function blobFile(blob: Uint8Array): string {
  return `blobs/${digestOf(blob).replace(':', '/')}`;
}

export async function writeFiles(directory: string, files: ReadonlyMap<string, Uint8Array>): Promise<string> {
  for (const [name, bytes] of files) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), bytes);
  }
  return directory;
}

export async function writeTar(path: string, files: ReadonlyMap<string, Uint8Array>): Promise<string> {
  await writeFile(path, await tarOf([...files].map(([name, content]) => ({ path: name, content }))));
  return path;
}
