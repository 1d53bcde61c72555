/** A small cluster view for the tests of discovery and DNS; parts can be replaced. */
import type { AllocationBody } from '../../../protocols/base/records.ts';
import { SPEC_DEFAULTS, type WorkloadSpec, workloadName } from '../../../protocols/base/workload.ts';
import type { ClusterView, MemberView, WorkloadView } from '../../../protocols/view/view.ts';

export function member(id: string, over: Partial<MemberView> = {}): MemberView {
  return {
    id,
    name: id,
    status: 'alive',
    intent: 'active',
    worker: true,
    incarnation: 1,
    addresses: [],
    doors: [],
    host: `192.0.2.${id.charCodeAt(0) - 96}`,
    labels: {},
    capacity: { cpu_millis: 1000, memory_bytes: 1 << 30 },
    subnet: `10.210.${id.charCodeAt(0) - 96}.0/24`,
    driver: 'oci',
    version: '0',
    ...over,
  };
}

export function workload(namespace: string, name: string, over: Partial<WorkloadSpec> = {}): WorkloadView {
  const spec: WorkloadSpec = {
    ...SPEC_DEFAULTS,
    namespace,
    name,
    image: 'x',
    replicas: 3,
    ports: [
      { name: 'http', port: 80 },
      { name: 'admin', port: 81 },
    ],
    ...over,
  };
  return {
    namespace,
    name,
    generation: 1,
    revision: '',
    stopped: false,
    spec,
    author: 'a',
    written_ms: 0,
    siblings: [],
  };
}

export function allocation(
  node: string,
  index: number,
  address: string | null,
  over: Partial<AllocationBody> = {},
): AllocationBody {
  return {
    node,
    namespace: 'default',
    workload: 'web',
    index,
    generation: 1,
    revision: '',
    attempt: 1,
    phase: 'running',
    health: 'healthy',
    address,
    ports: { http: 80, admin: 81 },
    resources: { cpu_millis: 1, memory_bytes: 1 },
    since_ms: 0,
    until_ms: null,
    reason: null,
    exitCode: null,
    restarts: 0,
    ...over,
  };
}

export function clusterView(over: {
  members?: MemberView[];
  workloads?: WorkloadView[];
  allocations?: AllocationBody[];
}): ClusterView {
  const members = over.members ?? [member('a'), member('b')];
  const workloads = over.workloads ?? [workload('default', 'web')];
  return {
    self: 'a',
    members: new Map(members.map((one) => [one.id, one])),
    workloads: new Map(workloads.map((one) => [workloadName(one.namespace, one.name), one])),
    allocations: over.allocations ?? [allocation('a', 0, '10.210.1.2'), allocation('b', 1, '10.210.2.2')],
    images: new Map(),
    tags: new Map(),
  };
}
