/**
 * A layer's tar to the tar that is unpacked: every entry passes the rules, whiteouts become what overlayfs
 * understands, and attributes that could steer overlayfs are left out.
 * Source: OCI image specification, layer; Linux overlayfs documentation, whiteouts and opaque directories.
 */
import type { Readable } from 'node:stream';
import type { LayerLimits } from '../core/layer-rules.ts';
import { hostile, type LayerEntry, LayerRules, type Whiteouts } from '../core/layer-rules.ts';
import { type ArchiveEntry, type ArchiveWriter, readArchive } from '../tar/archive.ts';

const OPAQUE_XATTR = 'trusted.overlay.opaque';
const CAPABILITY_XATTR = 'security.capability';
const EMPTY: ArchiveEntry = {
  path: '',
  type: 'directory',
  size: 0,
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime_s: 0,
  link: '',
  major: 0,
  minor: 0,
  xattrs: {},
};

/** `trusted.overlay.*` and `user.overlay.*` of a stranger could redirect a mount to other files. */
function safeXattrs(xattrs: Readonly<Record<string, string>>): Record<string, string> {
  const safe = Object.entries(xattrs).filter(
    ([name]) => name === CAPABILITY_XATTR || (name.startsWith('user.') && !name.startsWith('user.overlay.')),
  );
  return Object.fromEntries(safe);
}

/** A plain user must be able to enter and to remove what it unpacked. */
function ownMode(entry: ArchiveEntry): number {
  if (entry.type === 'directory') return entry.mode | 0o700;
  return entry.type === 'file' ? entry.mode | 0o600 : entry.mode;
}

/**
 * @param privileged as root: whiteouts as device nodes 0:0, opaque as an attribute. Else both are only returned.
 * @throws E_LAYER_HOSTILE, or Error when it is no tar archive.
 */
export async function rewriteLayer(
  source: Readable,
  target: ArchiveWriter,
  options: { readonly limits: LayerLimits; readonly privileged: boolean },
): Promise<Whiteouts> {
  const { privileged } = options;
  const rules = new LayerRules(options);
  const directories = new Map<string, ArchiveEntry>();
  await readArchive(source, async (entry, body) => {
    if (entry.type === 'unsupported')
      throw hostile(`the entry ${JSON.stringify(entry.path)} is of no known type`);
    const verdict = rules.entry(entry as ArchiveEntry & LayerEntry);
    if (!verdict.keep) return;
    const kept: ArchiveEntry = {
      ...entry,
      path: verdict.path === '' ? './' : `./${verdict.path}`,
      link: entry.type === 'link' ? `./${verdict.link}` : verdict.link,
      mode: privileged ? entry.mode : ownMode(entry),
      xattrs: privileged ? safeXattrs(entry.xattrs) : {},
    };
    if (entry.type === 'directory') directories.set(verdict.path, kept);
    await target.add(kept, body);
  });
  const whiteouts = rules.finish();
  if (privileged) {
    for (const path of whiteouts.opaque) {
      const entry = directories.get(path) ?? { ...EMPTY, path: path === '' ? './' : `./${path}` };
      await target.add({ ...entry, xattrs: { ...entry.xattrs, [OPAQUE_XATTR]: 'y' } });
    }
    for (const path of whiteouts.removed) {
      await target.add({ ...EMPTY, path: `./${path}`, type: 'character', mode: 0 });
    }
  }
  target.end();
  return whiteouts;
}
