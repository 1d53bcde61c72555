/**
 * Every name of the zone with its records, built once per view snapshot, so that a question is a map look-up.
 *
 * Names: `<workload>.<namespace>`, `<workload>` (of the default namespace), `<index>.<workload>.<namespace>`,
 * `<dashed address>.<workload>.<namespace>` (one instance, whatever its slot), `_<port>._tcp.` before the first
 * three, `<node>.node`; and the reverse names of instances and hosts. The label `node` in the second place is the
 * hosts': a workload of a namespace called `node` is not answered when a host has its name.
 *
 * Only instances that are running and healthy on a member that is not failed are answered. A workload without any
 * still exists: that is an empty answer, and not "no such name".
 */
import type { AllocationBody } from '../base/records.ts';
import { DEFAULT_NAMESPACE, slotName, workloadName } from '../base/workload.ts';
import type { ClusterView, MemberView, WorkloadView } from '../view/view.ts';
import { addressLabel, type IpAddress, parseAddress, reverseName } from './ip-address.ts';

export interface Instance {
  /** The slot's own name. */
  readonly name: string;
  /** The name of this instance alone, for SRV targets: the slot's when nobody else holds the slot. */
  readonly target: string;
  readonly address: IpAddress;
  readonly ports: Readonly<Record<string, number>>;
}

/** What one name answers. Absent and empty are the same; the name exists in any case. */
export interface NameEntry {
  readonly addresses: IpAddress[];
  readonly services: { readonly port: number; readonly instance: Instance }[];
  readonly texts: string[];
  readonly pointers: string[];
}

export interface NameIndex {
  /** In lower case, without the last dot. */
  readonly zone: string;
  /** Names in lower case, ancestors within the zone included. */
  readonly entries: ReadonlyMap<string, NameEntry>;
  /** Names of workloads to the number of slots their specs give: an idle slot exists too. */
  readonly slots: ReadonlyMap<string, number>;
  /** Reverse zones that the cluster's subnets make ours, such as `3.210.10.in-addr.arpa`. */
  readonly reverseZones: ReadonlySet<string>;
  /** This node's own name in the zone, when it has one: the zone's name server. */
  readonly server: string | null;
}

const NODE_LABEL = 'node';
/** Node names are free text: only what can stand in a DNS name is answered. */
const HOST_NAME = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/;
/** One character-string of a TXT record (RFC 1035 section 3.3). */
const TEXT_BYTES_MAX = 255;

/** @param zone such as `internal`. Cost: one pass over members, workloads and allocations. */
export function buildNameIndex(view: ClusterView, zone: string): NameIndex {
  const builder = new Builder(zone.toLowerCase().replace(/\.$/, ''));
  for (const workload of sorted(view.workloads.values(), (w) => workloadName(w.namespace, w.name)))
    builder.addWorkload(workload);
  builder.addInstances(view);
  for (const member of sorted(view.members.values(), (m) => m.id)) builder.addMember(member, view);
  return builder.build(view.members.get(view.self)?.name ?? null);
}

class Builder {
  readonly #zone: string;
  readonly #entries = new Map<string, NameEntry>();
  readonly #slots = new Map<string, number>();
  readonly #reverseZones = new Set<string>();

  constructor(zone: string) {
    this.#zone = zone;
    this.#entry(zone);
  }

  build(self: string | null): NameIndex {
    return {
      zone: this.#zone,
      entries: this.#entries,
      slots: this.#slots,
      reverseZones: this.#reverseZones,
      server: self === null ? null : this.#hostName(self),
    };
  }

  addWorkload(workload: WorkloadView): void {
    for (const name of this.#workloadNames(workload.namespace, workload.name)) {
      this.#entry(name).texts.push(
        `workload=${workload.namespace}/${workload.name}`,
        `generation=${workload.generation}`,
      );
      if (workload.spec.kind === 'service') this.#slots.set(name, workload.spec.replicas);
      for (const port of workload.spec.ports) this.#entry(`_${port.name}._tcp.${name}`);
    }
  }

  addInstances(view: ClusterView): void {
    const answering = sorted(
      view.allocations.filter((allocation) => answers(view, allocation)),
      (a) => `${a.index.toString().padStart(16, '0')}/${a.node}`,
    );
    const holders = new Map<string, number>();
    for (const { namespace, workload, index } of answering) {
      const slot = slotName(namespace, workload, index);
      holders.set(slot, (holders.get(slot) ?? 0) + 1);
    }
    for (const allocation of answering) {
      const workload = view.workloads.get(workloadName(allocation.namespace, allocation.workload));
      const address = parseAddress(allocation.address ?? '');
      if (workload === undefined || address === null) continue;
      const alone = holders.get(slotName(workload.namespace, workload.name, allocation.index)) === 1;
      this.#addInstance(workload, allocation, address, alone, view.members.get(allocation.node)?.name ?? '');
    }
  }

  addMember(member: MemberView, view: ClusterView): void {
    if (member.subnet !== null) {
      const [a, b, c] = member.subnet.split('.');
      if (parseAddress(`${a}.${b}.${c}.0`)?.family === 4)
        this.#reverseZones.add(`${c}.${b}.${a}.in-addr.arpa`);
    }
    const name = this.#hostName(member.name);
    const address = parseAddress(member.host);
    if (name === null) return;
    const entry = this.#entry(name);
    // A host named like a workload of the namespace `node`: the host's name is the hosts' to give.
    if (view.workloads.has(workloadName(NODE_LABEL, member.name.toLowerCase()))) {
      this.#slots.delete(name);
      for (const list of [entry.addresses, entry.services, entry.texts]) list.length = 0;
    }
    entry.texts.push(`node=${member.id}`);
    if (address === null) return;
    pushAddress(entry, address);
    pushOnce(this.#entry(reverseName(address)).pointers, name);
  }

  #addInstance(
    workload: WorkloadView,
    allocation: AllocationBody,
    address: IpAddress,
    alone: boolean,
    node: string,
  ): void {
    const [full = '', ...others] = this.#workloadNames(workload.namespace, workload.name);
    const slot = `${allocation.index}.${full}`;
    const single = `${addressLabel(address)}.${full}`;
    const instance: Instance = {
      name: slot,
      target: alone ? slot : single,
      address,
      ports: allocation.ports,
    };
    const first = workload.spec.ports[0]?.name;
    for (const name of [full, ...others, slot]) {
      const entry = this.#entry(name);
      pushAddress(entry, address);
      for (const [portName, port] of Object.entries(allocation.ports)) {
        this.#entry(`_${portName.toLowerCase()}._tcp.${name}`).services.push({ port, instance });
        if (portName === first) entry.services.push({ port, instance });
      }
    }
    this.#entry(slot).texts.push(
      clip(`slot=${slotName(workload.namespace, workload.name, allocation.index)}`),
      clip(`node=${node}`),
    );
    pushAddress(this.#entry(single), address);
    pushOnce(this.#entry(reverseName(address)).pointers, slot);
  }

  /** The full name first. */
  #workloadNames(namespace: string, name: string): string[] {
    const full = `${name}.${namespace}.${this.#zone}`;
    return namespace === DEFAULT_NAMESPACE ? [full, `${name}.${this.#zone}`] : [full];
  }

  #hostName(name: string): string | null {
    const lower = name.toLowerCase();
    return HOST_NAME.test(lower) ? `${lower}.${NODE_LABEL}.${this.#zone}` : null;
  }

  /** The entry of a name; its ancestors within the zone exist from now on too (RFC 8020). */
  #entry(name: string): NameEntry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const entry: NameEntry = { addresses: [], services: [], texts: [], pointers: [] };
    this.#entries.set(name, entry);
    const parent = name.slice(name.indexOf('.') + 1);
    if (parent.endsWith(`.${this.#zone}`)) this.#entry(parent);
    return entry;
  }
}

function answers(view: ClusterView, allocation: AllocationBody): boolean {
  if (allocation.phase !== 'running' || allocation.health !== 'healthy') return false;
  const status = view.members.get(allocation.node)?.status;
  return status === 'alive' || status === 'suspect';
}

/** Instances on the host's network share its address: it is answered once. */
function pushAddress(entry: NameEntry, address: IpAddress): void {
  if (!entry.addresses.some((known) => known.text === address.text)) entry.addresses.push(address);
}

function pushOnce(list: string[], text: string): void {
  if (!list.includes(text)) list.push(text);
}

function clip(text: string): string {
  return text.slice(0, TEXT_BYTES_MAX);
}

function sorted<T>(items: Iterable<T>, key: (item: T) => string): T[] {
  return [...items]
    .map((item) => ({ item, key: key(item) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ item }) => item);
}
