/** What a view tells of an image: which one a name means, and which members may have its blobs. Pure. */
import { parseImageName } from '../../images/core/image-name.ts';
import { isShoalError } from '../../protocols/base/errors.ts';
import { type Digest, isDigest, type KeyId, type NodeId } from '../../protocols/base/ids.ts';
import { workloadName } from '../../protocols/base/workload.ts';
import type { ClusterView } from '../../protocols/view/view.ts';

export interface FoundImage {
  readonly digest: Digest;
  readonly body: ReturnType<ClusterView['images']['get']> & {};
}

/** The image that a name or digest means now. */
export function findImage(view: ClusterView, name: string): FoundImage | undefined {
  const digest = isDigest(name) ? name : taggedDigest(view, name);
  const body = digest && view.images.get(digest);
  return digest && body && { digest, body };
}

/** Other members that may have an image's blobs: those that imported it, and those that run it. */
export function imageHolders(view: ClusterView, image: Digest): NodeId[] {
  const holders = new Set<KeyId>(view.images.get(image)?.authors ?? []);
  for (const { phase, namespace, workload: name, node } of view.allocations) {
    if (phase !== 'running') continue;
    const workload = view.workloads.get(workloadName(namespace, name));
    if (workload && findImage(view, workload.spec.image)?.digest === image) holders.add(node);
  }
  holders.delete(view.self);
  return [...holders].filter((holder) => view.members.get(holder)?.status === 'alive');
}

function taggedDigest(view: ClusterView, name: string): Digest | undefined {
  try {
    return view.tags.get(parseImageName(name));
  } catch (error) {
    if (isShoalError(error)) return undefined;
    throw error;
  }
}
