/**
 * What may be in a layer and what becomes of each entry: path safety, whiteouts, limits. A pure machine that is fed
 * the headers of one layer in order and answers for each; it reads and writes nothing itself.
 * Source: OCI image specification, layer (change sets, whiteouts); Linux overlayfs documentation.
 */
import { ShoalError } from '../../protocols/base/errors.ts';

export interface LayerLimits {
  readonly entries_max: number;
  /** Sum of file sizes. */
  readonly unpacked_bytes_max: number;
  /** Unpacked over packed bytes. Only looked at once `ratioFree_bytes` are unpacked: small files compress well. */
  readonly ratio_max: number;
  readonly ratioFree_bytes: number;
  /** Components of a path. */
  readonly depth_max: number;
  /** Of one path, and of all paths together (they are kept while the layer is read). */
  readonly path_bytes_max: number;
  readonly paths_bytes_max: number;
}

export const LAYER_LIMITS: LayerLimits = {
  entries_max: 1_000_000,
  unpacked_bytes_max: 64 * 2 ** 30,
  ratio_max: 400,
  ratioFree_bytes: 256 << 20,
  depth_max: 128,
  path_bytes_max: 4095,
  paths_bytes_max: 128 << 20,
};
const COMPONENT_BYTES_MAX = 255;

export type EntryType = 'file' | 'directory' | 'symlink' | 'link' | 'character' | 'block' | 'fifo';

export interface LayerEntry {
  readonly path: string;
  readonly type: EntryType;
  readonly size: number;
  readonly link: string;
  readonly major: number;
  readonly minor: number;
}

export type Verdict =
  /** Unpack it under this path; `link` is set for hard links (a safe path) and symlinks (verbatim). */
  { readonly keep: true; readonly path: string; readonly link: string } | { readonly keep: false };

export interface Whiteouts {
  /** Paths that hide what is below them in lower layers. */
  readonly removed: readonly string[];
  /** Directories whose content in lower layers is hidden. */
  readonly opaque: readonly string[];
}

const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';
const DROP: Verdict = { keep: false };
/** null, zero, full, random, urandom, tty, console, ptmx: major:minor of character devices that harm nobody. */
const SAFE_DEVICES = new Set(['1:3', '1:5', '1:7', '1:8', '1:9', '5:0', '5:1', '5:2']);

export function hostile(what: string): ShoalError {
  return new ShoalError('E_LAYER_HOSTILE', `${what}; nothing was kept`);
}

/**
 * @returns the path without `.`, empty components or a slash at its end; '' for the root itself.
 * @throws E_LAYER_HOSTILE when it is absolute, climbs, or passes a limit.
 */
export function safePath(given: string, limits: LayerLimits): string {
  const shown = JSON.stringify(given.slice(0, 100));
  if (given.startsWith('/')) throw hostile(`the path ${shown} is absolute`);
  if (given.includes('\0')) throw hostile(`the path ${shown} contains a zero byte`);
  const encoder = new TextEncoder();
  if (encoder.encode(given).byteLength > limits.path_bytes_max)
    throw hostile(`the path ${shown}… is too long`);
  const parts = given.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw hostile(`the path ${shown} leaves the layer`);
  if (parts.length > limits.depth_max) throw hostile(`the path ${shown}… is too deep`);
  if (parts.some((part) => encoder.encode(part).byteLength > COMPONENT_BYTES_MAX)) {
    throw hostile(`a name in the path ${shown}… is too long`);
  }
  return parts.join('/');
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

export class LayerRules {
  readonly #limits: LayerLimits;
  readonly #privileged: boolean;
  /** What was kept, by path. A symlink stays one for good: what is later put in its place may not be descended into. */
  readonly #kinds = new Map<string, EntryType>();
  readonly #symlinks = new Set<string>();
  readonly #removed = new Set<string>();
  readonly #opaque = new Set<string>();
  #entries = 0;
  #bytes = 0;
  #pathBytes = 0;

  /** @param privileged device nodes can be made: the standard harmless ones are kept, and dropped otherwise. */
  constructor(init: { readonly limits: LayerLimits; readonly privileged: boolean }) {
    this.#limits = init.limits;
    this.#privileged = init.privileged;
  }

  /** @throws E_LAYER_HOSTILE */
  entry(entry: LayerEntry): Verdict {
    const limits = this.#limits;
    if (++this.#entries > limits.entries_max) throw hostile(`more than ${limits.entries_max} entries`);
    this.#bytes += entry.size;
    if (!(entry.size >= 0) || this.#bytes > limits.unpacked_bytes_max) {
      throw hostile(`more than ${limits.unpacked_bytes_max} bytes`);
    }
    const path = safePath(entry.path, limits);
    this.#pathBytes += path.length * 2;
    if (this.#pathBytes > limits.paths_bytes_max) throw hostile('the paths are too long together');
    if (path === '') return entry.type === 'directory' ? this.#keep(path, entry.type, '') : DROP;
    this.#checkParents(path);
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (name.startsWith(PREFIX)) return this.#whiteout(parentOf(path), name);
    switch (entry.type) {
      case 'link':
        return this.#hardLink(path, entry.link);
      case 'symlink':
        return this.#symlink(path, entry.link);
      case 'character':
      case 'block':
        return this.#device(path, entry);
      default:
        return this.#keep(path, entry.type, '');
    }
  }

  /** @returns what the layer hides, sorted. A whiteout of something that the layer itself brings is not one. */
  finish(): Whiteouts {
    const removed: string[] = [];
    for (const path of this.#removed) {
      const kind = this.#kinds.get(path);
      if (kind === 'directory') this.#opaque.add(path);
      else if (kind === undefined) removed.push(path);
    }
    return { removed: removed.sort(), opaque: [...this.#opaque].sort() };
  }

  #checkParents(path: string): void {
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
      const parent = path.slice(0, at);
      if (this.#symlinks.has(parent)) throw hostile(`the path ${JSON.stringify(path)} passes a symlink`);
      if (parent.slice(parent.lastIndexOf('/') + 1).startsWith(PREFIX)) {
        throw hostile(`the path ${JSON.stringify(path)} is inside a whiteout`);
      }
    }
  }

  #keep(path: string, type: EntryType, link: string): Verdict {
    this.#kinds.set(path, type);
    return { keep: true, path, link };
  }

  #whiteout(parent: string, name: string): Verdict {
    if (name === OPAQUE) {
      this.#opaque.add(parent);
      return DROP;
    }
    const hidden = name.slice(PREFIX.length);
    // Other names of aufs (.wh..wh.plnk and the like) hide nothing.
    if (hidden.startsWith(PREFIX)) return DROP;
    if (hidden === '' || hidden === '.' || hidden === '..') throw hostile(`a whiteout of "${hidden}"`);
    this.#removed.add(parent === '' ? hidden : `${parent}/${hidden}`);
    return DROP;
  }

  #symlink(path: string, link: string): Verdict {
    if (link === '' || link.includes('\0') || link.length > this.#limits.path_bytes_max) {
      throw hostile(`the symlink ${JSON.stringify(path)} has no target of use`);
    }
    this.#symlinks.add(path);
    return this.#keep(path, 'symlink', link);
  }

  #hardLink(path: string, link: string): Verdict {
    // Some builders write targets as absolute paths within the layer; a target must be an entry before it anyway.
    const target = safePath(link.replace(/^\/+/, ''), this.#limits);
    this.#checkParents(target);
    const kind = this.#kinds.get(target);
    if (kind === 'block' || kind === 'character') return DROP;
    if (kind === undefined || kind === 'directory' || target === path) {
      throw hostile(`the hard link ${JSON.stringify(path)} has no target in its layer`);
    }
    if (this.#symlinks.has(target)) this.#symlinks.add(path);
    return this.#keep(path, kind, target);
  }

  #device(path: string, entry: LayerEntry): Verdict {
    const safe = entry.type === 'character' && SAFE_DEVICES.has(`${entry.major}:${entry.minor}`);
    if (safe && this.#privileged) return this.#keep(path, entry.type, '');
    // Remembered, so that a hard link to it is dropped too and not an error.
    this.#kinds.set(path, entry.type);
    return DROP;
  }
}
