/**
 * The images that this host knows to have been whole: `images/<hex of the manifest>.json`, each with the body of
 * its record. Held in memory too. Not here: whether the blobs are still there (the service asks the blob store).
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Compile } from 'typebox/compile';
import { type Digest, isDigest } from '../../protocols/base/ids.ts';
import { type ImageBody, ImageSchema } from '../../protocols/base/records.ts';
import { blobName } from '../core/metainfo.ts';
import { writeFileDurably } from './durable-file.ts';

export class Catalog {
  readonly #directory: string;
  readonly #temporary: string;
  readonly #images = new Map<Digest, ImageBody>();

  private constructor(directory: string, temporary: string) {
    this.#directory = directory;
    this.#temporary = temporary;
  }

  /** An entry that cannot be read is removed: the image can be fetched or imported again. */
  static async open(root: string, temporary: string): Promise<Catalog> {
    const catalog = new Catalog(join(root, 'images'), temporary);
    await mkdir(catalog.#directory, { recursive: true, mode: 0o755 });
    for (const name of await readdir(catalog.#directory)) {
      const digest = `sha256:${name.replace(/\.json$/, '')}`;
      const body = await readBody(join(catalog.#directory, name));
      if (isDigest(digest) && body !== undefined) catalog.#images.set(digest, body);
      else await rm(join(catalog.#directory, name), { recursive: true, force: true });
    }
    return catalog;
  }

  get(image: Digest): ImageBody | undefined {
    return this.#images.get(image);
  }

  all(): ReadonlyMap<Digest, ImageBody> {
    return this.#images;
  }

  /** @throws E_DISK_FULL */
  async put(image: Digest, body: ImageBody): Promise<void> {
    const path = join(this.#directory, `${blobName(image)}.json`);
    await writeFileDurably(path, new TextEncoder().encode(JSON.stringify(body)), this.#temporary);
    this.#images.set(image, body);
  }
}

const schema = Compile(ImageSchema);

async function readBody(path: string): Promise<ImageBody | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return schema.Check(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
