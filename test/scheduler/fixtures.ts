/**
 * Builders of views for the scheduler's tests: small words for members, workloads and allocations.
 * Not here: any check (checkers.ts), or anything that moves (cluster.ts).
 */
import type { Digest } from '../../protocols/base/ids.ts';
import type { AllocationBody, ImageBody } from '../../protocols/base/records.ts';
import {
  SPEC_DEFAULTS,
  type WorkloadName,
  type WorkloadSpec,
  workloadName,
} from '../../protocols/base/workload.ts';
import type { ClusterView, MemberView, WorkloadView } from '../../protocols/view/view.ts';

export const IMAGE = 'demo:1';
export const IMAGE_DIGEST: Digest = `sha256:${'a'.repeat(64)}`;
export const MIB = 1 << 20;

export function aMember(id: string, over: Partial<MemberView> = {}): MemberView {
  return {
    id,
    name: `host-${id}`,
    incarnation: 1,
    addresses: [],
    doors: [],
    host: '127.0.0.1',
    labels: {},
    capacity: { cpu_millis: 4000, memory_bytes: 4096 * MIB },
    subnet: null,
    driver: 'memory',
    version: '0.1.0',
    status: 'alive',
    intent: 'active',
    worker: true,
    ...over,
  };
}

export function aSpec(over: Partial<WorkloadSpec> = {}): WorkloadSpec {
  return structuredClone({ ...SPEC_DEFAULTS, name: 'web', image: IMAGE, ...over }) as WorkloadSpec;
}

/** The revision of a test's workload follows from its generation. */
export function revisionOf(generation: number): string {
  return generation.toString(16).padStart(64, '0');
}

export function aWorkload(spec: WorkloadSpec, over: Partial<WorkloadView> = {}): WorkloadView {
  const generation = over.generation ?? 1;
  return {
    namespace: spec.namespace,
    name: spec.name,
    generation,
    revision: revisionOf(generation),
    stopped: false,
    spec,
    author: 'operator',
    written_ms: 0,
    siblings: [],
    ...over,
  };
}

/** Running and healthy, of generation 1, unless told otherwise. */
export function anAllocation(
  node: string,
  index: number,
  over: Partial<AllocationBody> = {},
): AllocationBody {
  return {
    node,
    namespace: 'default',
    workload: 'web',
    index,
    generation: 1,
    revision: revisionOf(over.generation ?? 1),
    attempt: 1,
    phase: 'running',
    health: 'healthy',
    address: null,
    ports: {},
    resources: SPEC_DEFAULTS.resources,
    since_ms: 0,
    until_ms: null,
    reason: null,
    exitCode: null,
    restarts: 0,
    ...over,
  };
}

type ImageView = ImageBody & { author: string; authors: string[] };

export interface ViewParts {
  readonly self?: string;
  readonly members: readonly MemberView[];
  readonly workloads?: readonly WorkloadView[];
  readonly allocations?: readonly AllocationBody[];
}

/** The image of `aSpec` is known in it. */
export function aView({ self, members, workloads = [], allocations = [] }: ViewParts): ClusterView {
  const blob = { digest: IMAGE_DIGEST, size: 1, mediaType: 'application/json', infohash: null };
  const image: ImageView = {
    manifest: blob,
    config: blob,
    layers: [],
    platform: 'linux/amd64',
    author: 'operator',
    authors: ['operator'],
  };
  return {
    self: self ?? members[0]!.id,
    members: new Map(members.map((member) => [member.id, member])),
    workloads: new Map<WorkloadName, WorkloadView>(
      workloads.map((workload) => [workloadName(workload.namespace, workload.name), workload]),
    ),
    allocations,
    images: new Map<Digest, ImageView>([[IMAGE_DIGEST, image]]),
    tags: new Map([[IMAGE, IMAGE_DIGEST]]),
  };
}
