/**
 * One IP per container: a bridge, a veth pair and a namespace for each container, and VXLAN between hosts.
 *
 * The kernel is the only memory: whose interface it is and which address it has stands in the interface's alias, the
 * peers in routes and forwarding entries. A new daemon reads them back, and a reboot forgets them all at once.
 * `plan.ts` decides, this file carries out, one call at a time. Every command acts in the namespace that the daemon
 * itself is in; containers' namespaces are named ones, with the instance in the name.
 */
import { createHash } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { ShoalError } from '../../protocols/base/errors.ts';
import { parseAddress } from '../../protocols/discovery/ip-address.ts';
import { isSubnetOf, parseRange, type SubnetRange } from '../../protocols/discovery/subnet.ts';
import type { Log } from '../log.ts';
import type { Attachment, Network, NetworkPeer } from './network.ts';
import {
  addressIn,
  type Endpoint,
  type HostPlan,
  networkNames,
  type PeerTable,
  parsePeers,
  peerTable,
  planAlias,
  planAttach,
  planBridge,
  planInside,
  planMasquerade,
  planPeers,
  planSysctls,
  planVxlan,
} from './plan.ts';
import { type RunCommand, runCommand } from './run-command.ts';

export interface VxlanNetworkInit {
  /** Unique among the daemons of this machine. */
  readonly instance: string;
  /** This host's address, as other hosts reach it, to begin with. */
  readonly host: string;
  /** The cluster's range, /8 to /24. */
  readonly range: string;
  readonly log: Log;
  /** VXLAN network id, 1 to 2^24-1, the same on all hosts of a cluster; by default it follows from the range. */
  readonly vni?: number;
  /** How commands are run, and kernel settings (paths under /proc/sys) written; by default for real. */
  readonly run?: RunCommand;
  readonly setKernel?: SetKernel;
}

/** As `ip -d -j link show` prints it. */
interface VxlanLink {
  readonly ifname?: string;
  readonly linkinfo?: { info_data?: { id?: number; local?: string; local6?: string } };
}

type SetKernel = (path: string, value: string) => Promise<void>;

const CONTAINER = /^[A-Za-z0-9_.-]{1,128}$/;
const NETNS_DIRECTORY = '/run/netns';
/** `.0` is the VXLAN end, `.1` the gateway, `.255` the broadcast address. */
const FIRST_HOST = 2;
const LAST_HOST = 254;

/** @throws ShoalError E_BAD_INPUT for a bad range or host. */
export function createVxlanNetwork(init: VxlanNetworkInit): Network {
  return new VxlanNetwork(init);
}

class VxlanNetwork implements Network {
  readonly kind = 'vxlan';
  readonly #init: VxlanNetworkInit;
  readonly #range: SubnetRange;
  readonly #run: RunCommand;
  readonly #setKernel: SetKernel;
  readonly #names: ReturnType<typeof networkNames>;
  /** Container to its end; the kernel's state as of the last command. */
  readonly #endpoints = new Map<string, Endpoint>();
  #host: string;
  #plan: HostPlan | null = null;
  #peers: PeerTable = new Map();
  /** The table was read back from the kernel, and is not yet known to be whole. */
  #peersAdopted = false;
  #wantedPeers: readonly NetworkPeer[] = [];
  /** Waits for its turn, and will make what is wanted then: each turn costs two processes. */
  #linking: Promise<void> | undefined;
  #lastHost = FIRST_HOST - 1;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(init: VxlanNetworkInit) {
    this.#init = init;
    this.#range = parseRange(init.range);
    this.#host = ipAddress(init.host);
    this.#run = init.run ?? runCommand;
    this.#setKernel = init.setKernel ?? ((path, value) => writeFile(`/proc/sys/${path}`, value));
    this.#names = networkNames(hash(init.instance, 6));
  }

  get gateway(): string | null {
    return this.#plan === null ? null : addressIn(this.#plan.subnet, 1);
  }

  /**
   * With another subnet than before (after a conflict) everything is made anew: each container must be attached, and
   * started, again. @throws ShoalError E_BAD_INPUT, E_NETWORK_FAILED
   */
  start(subnet: string | null): Promise<void> {
    // It may forget all peers: who asks after this comes after it.
    this.#linking = undefined;
    return this.#inOrder(async () => {
      if (subnet === null || !isSubnetOf(this.#range, subnet)) {
        throw new ShoalError('E_BAD_INPUT', `"${subnet}" is not a /24 of ${this.#init.range}`);
      }
      const { range } = this.#init;
      const vni = this.#init.vni ?? 1 + (Number.parseInt(hash(range, 6), 16) % 0xffffff);
      const plan: HostPlan = { names: this.#names, host: this.#host, subnet, range, vni };
      await this.#adopt(plan);
      this.#plan = plan;
    });
  }

  attach(container: string): Promise<Attachment> {
    return this.#inOrder(async () => {
      const plan = this.#started();
      if (!CONTAINER.test(container)) throw new ShoalError('E_BAD_INPUT', 'not a container id');
      const known = this.#endpoints.get(container);
      const endpoint = known ?? (await this.#make(plan, container));
      return {
        netns: `${NETNS_DIRECTORY}/${endpoint.netns}`,
        address: endpoint.address,
        resolver: addressIn(plan.subnet, 1),
      };
    });
  }

  detach(container: string): Promise<void> {
    return this.#inOrder(async () => {
      const endpoint = this.#endpoints.get(container);
      const { netns, veth } = endpoint ?? this.#namesOf(container);
      await this.#remove(endpoint === undefined ? [] : [veth], [netns]);
      this.#endpoints.delete(container);
    });
  }

  sweep(keep: ReadonlySet<string>): Promise<void> {
    return this.#inOrder(() => this.#sweep(keep));
  }

  setPeers(peers: readonly NetworkPeer[]): Promise<void> {
    this.#wantedPeers = peers;
    this.#linking ??= this.#inOrder(() => {
      this.#linking = undefined;
      return this.#link(this.#wantedPeers);
    });
    return this.#linking;
  }

  /** Containers keep their addresses: only the end of the VXLAN is made anew. @throws E_BAD_INPUT, E_NETWORK_FAILED */
  setHost(host: string): Promise<boolean> {
    // As in `start`: the new end has no peers.
    this.#linking = undefined;
    return this.#inOrder(async () => {
      this.#host = ipAddress(host);
      if (this.#plan === null) return false;
      const plan = { ...this.#plan, host };
      await this.#adopt(plan);
      this.#plan = plan;
      return false;
    });
  }

  teardown(): Promise<void> {
    return this.#inOrder(async () => {
      await this.#sweep(new Set());
      await this.#removeDevices();
      await this.#run(['nft', 'delete', 'table', 'ip', this.#names.table]).catch(() => {});
      this.#plan = null;
    });
  }

  /** Waits for what is under way. The network stays: containers outlive the daemon. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail;
  }

  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {});
    return result;
  }

  #started(): HostPlan {
    if (this.#plan === null) throw new Error('the network is not started');
    return this.#plan;
  }

  async #link(peers: readonly NetworkPeer[]): Promise<void> {
    const plan = this.#started();
    const wanted = peerTable(this.#range, plan, peers);
    const { ip, bridge } = planPeers(plan, this.#peers, wanted, this.#peersAdopted);
    if (ip.length === 0 && bridge.length === 0) return;
    try {
      await this.#batch(['bridge'], bridge);
      await this.#batch(['ip'], ip);
    } catch (error) {
      // Somebody else changed the tables, or a command was refused: start again from what is really there.
      this.#init.log('warn', 'peers are entered anew', { error: String(error) });
      await this.#clearPeers();
      const anew = planPeers(plan, this.#peers, wanted);
      await this.#batch(['bridge'], anew.bridge);
      await this.#batch(['ip'], anew.ip);
    }
    this.#peers = wanted;
    this.#peersAdopted = false;
  }

  /** Takes over what a former daemon left, and makes what is missing. */
  async #adopt(plan: HostPlan): Promise<void> {
    const { bridge, vxlan } = this.#names;
    const links = await this.#links();
    const gateway = addressIn(plan.subnet, 1);
    if (links.has(bridge) && !(await this.#hasAddress(bridge, gateway))) {
      this.#init.log('warn', 'the subnet changed: the container network is made anew', {
        subnet: plan.subnet,
      });
      await this.#sweep(new Set());
      await this.#removeDevices();
      links.clear();
    }
    this.#endpoints.clear();
    const netnsNames = await this.#netnsNames();
    const broken: string[] = [];
    for (const [veth, alias] of links) {
      if (!veth.startsWith(this.#names.vethPrefix)) continue;
      const [container = '', address = ''] = alias.split(' ');
      const names = this.#namesOf(container);
      if (names.veth === veth && netnsNames.has(names.netns) && parseAddress(address) !== null)
        this.#endpoints.set(container, { ...names, address, alias });
      else broken.push(veth);
    }
    await this.#remove(broken, []);
    const lines = links.has(bridge) ? [`link set ${bridge} up`] : planBridge(plan);
    const keepsVxlan = links.has(vxlan) && (await this.#isVxlanOf(plan));
    if (links.has(vxlan) && !keepsVxlan) lines.push(`link del ${vxlan}`);
    if (!keepsVxlan) lines.push(...planVxlan(plan));
    await this.#batch(['ip'], lines).catch(async (error) => {
      throw (await this.#takenBy(plan)) ?? error;
    });
    // Routes to peers stay while the daemon restarts, so that containers do not notice.
    this.#peers = keepsVxlan
      ? parsePeers(await this.#must(['bridge', 'fdb', 'show', 'dev', vxlan]))
      : new Map();
    this.#peersAdopted = keepsVxlan;
    for (const [path, value] of planSysctls(this.#names)) {
      await this.#setKernel(path, value).catch((error: NodeJS.ErrnoException) => {
        // Absent: the kernel has no such part, and the setting is not needed.
        if (error.code !== 'ENOENT')
          this.#init.log('warn', `the kernel setting ${path} stays as it is`, { error: error.message });
      });
    }
    await this.#masquerade(plan);
  }

  async #isVxlanOf({ host, vni }: HostPlan): Promise<boolean> {
    const [device] = await this.#vxlans(this.#names.vxlan);
    const data = device?.linkinfo?.info_data;
    return (
      data?.id === vni && parseAddress(data.local ?? data.local6 ?? '')?.text === parseAddress(host)?.text
    );
  }

  /** Why the end of the VXLAN cannot be made: the kernel has one for each network id, and another device is it. */
  async #takenBy({ vni }: HostPlan): Promise<ShoalError | undefined> {
    const others = await this.#vxlans('type', 'vxlan').catch(() => []);
    const other = others.find(({ ifname, linkinfo }) => {
      return ifname !== this.#names.vxlan && linkinfo?.info_data?.id === vni;
    });
    if (other === undefined) return undefined;
    return new ShoalError(
      'E_NETWORK_FAILED',
      `the device ${other.ifname} holds the VXLAN network ${vni} on this host. If it is from a daemon with another key that runs no more, restart the host, or delete the device: ip link del ${other.ifname}`,
    );
  }

  async #vxlans(...which: readonly string[]): Promise<VxlanLink[]> {
    return JSON.parse(await this.#must(['ip', '-d', '-j', 'link', 'show', ...which]));
  }

  async #masquerade(plan: HostPlan): Promise<void> {
    const result = await this.#run(['nft', '-f', '-'], planMasquerade(plan)).catch((error) => ({
      code: 1,
      stderr: String(error),
    }));
    if (result.code === 0) return;
    this.#init.log('warn', 'containers cannot reach beyond the cluster: nft is missing or failed', {
      error: result.stderr.trim(),
    });
  }

  async #make(plan: HostPlan, container: string): Promise<Endpoint> {
    const names = this.#namesOf(container);
    const address = addressIn(plan.subnet, this.#freeHost());
    const endpoint: Endpoint = { ...names, address, alias: `${container} ${address}` };
    if ([...this.#endpoints.values()].some(({ veth }) => veth === names.veth)) {
      throw new ShoalError('E_NETWORK_FAILED', `the interface name of ${container} is taken: use another id`);
    }
    // What an attach that was cut short has left.
    if ((await this.#netnsNames()).has(names.netns)) await this.#remove([names.veth], [names.netns]);
    try {
      await this.#must(['ip', 'netns', 'add', names.netns]);
      await this.#batch(['ip'], planAttach(plan, endpoint));
      await this.#batch(['ip', '-n', names.netns], planInside(plan, endpoint));
      await this.#batch(['ip'], planAlias(endpoint));
    } catch (error) {
      await this.#remove([names.veth], [names.netns]);
      throw error;
    }
    this.#endpoints.set(container, endpoint);
    return endpoint;
  }

  /** The next free one after the last given out, so that an address is not soon somebody else's. */
  #freeHost(): number {
    const taken = new Set(
      [...this.#endpoints.values()].map(({ address }) => Number(address.slice(address.lastIndexOf('.') + 1))),
    );
    for (let step = 1; step <= LAST_HOST - FIRST_HOST + 1; step++) {
      const host = FIRST_HOST + ((this.#lastHost - FIRST_HOST + step) % (LAST_HOST - FIRST_HOST + 1));
      if (taken.has(host)) continue;
      this.#lastHost = host;
      return host;
    }
    throw new ShoalError('E_UNSATISFIABLE', `all ${taken.size} container addresses of this host are in use`);
  }

  #namesOf(container: string): { netns: string; veth: string } {
    return {
      netns: `${this.#names.netnsPrefix}${hash(container, 12)}`,
      // Letters and digits: six of them must tell 253 containers apart.
      veth: `${this.#names.vethPrefix}${BigInt(`0x${hash(container, 12)}`)
        .toString(36)
        .slice(-6)}`,
    };
  }

  async #sweep(keep: ReadonlySet<string>): Promise<void> {
    const kept = [...keep].map((container) => this.#namesOf(container));
    const keptVeths = new Set(kept.map(({ veth }) => veth));
    const keptNetns = new Set(kept.map(({ netns }) => netns));
    const veths = [...(await this.#links()).keys()].filter(
      (name) => name.startsWith(this.#names.vethPrefix) && !keptVeths.has(name),
    );
    const netns = [...(await this.#netnsNames())].filter((name) => !keptNetns.has(name));
    await this.#remove(veths, netns);
    for (const container of this.#endpoints.keys()) {
      if (!keep.has(container)) this.#endpoints.delete(container);
    }
  }

  async #removeDevices(): Promise<void> {
    const present = await this.#links();
    const devices = [this.#names.vxlan, this.#names.bridge].filter((name) => present.has(name));
    await this.#remove(devices, []);
    this.#peers = new Map();
  }

  /** What is gone already is fine: a namespace takes its interfaces along. */
  async #remove(links: readonly string[], netns: readonly string[]): Promise<void> {
    const lines = [...links.map((name) => `link del ${name}`), ...netns.map((name) => `netns del ${name}`)];
    if (lines.length > 0) await this.#run(['ip', '-force', '-batch', '-'], `${lines.join('\n')}\n`);
  }

  async #clearPeers(): Promise<void> {
    const { vxlan } = this.#names;
    for (const argv of [
      ['ip', 'route', 'flush', 'dev', vxlan],
      ['ip', 'neigh', 'flush', 'nud', 'permanent', 'dev', vxlan],
    ])
      await this.#run(argv);
    const listed = parsePeers(await this.#must(['bridge', 'fdb', 'show', 'dev', vxlan]));
    const { bridge } = planPeers(this.#started(), listed, new Map());
    await this.#batch(['bridge'], bridge);
    this.#peers = new Map();
  }

  /** All interfaces of this namespace: name to alias. */
  async #links(): Promise<Map<string, string>> {
    const listed = JSON.parse(await this.#must(['ip', '-j', 'link', 'show'])) as {
      ifname?: string;
      ifalias?: string;
    }[];
    return new Map(listed.map((link) => [link.ifname ?? '', link.ifalias ?? '']));
  }

  async #hasAddress(device: string, address: string): Promise<boolean> {
    const listed = JSON.parse(await this.#must(['ip', '-j', 'addr', 'show', 'dev', device])) as {
      addr_info?: { local?: string }[];
    }[];
    return listed.some(({ addr_info }) => addr_info?.some(({ local }) => local === address));
  }

  async #netnsNames(): Promise<Set<string>> {
    const names = await readdir(NETNS_DIRECTORY).catch(() => []);
    return new Set(names.filter((name) => name.startsWith(this.#names.netnsPrefix)));
  }

  async #batch(program: readonly string[], lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await this.#must([...program, '-batch', '-'], `${lines.join('\n')}\n`);
  }

  async #must(argv: readonly string[], input?: string): Promise<string> {
    const failed = (why: string, cause?: unknown) =>
      new ShoalError('E_NETWORK_FAILED', `${argv.join(' ')}: ${why}`, { cause });
    const result = await this.#run(argv, input).catch((cause) =>
      Promise.reject(failed(String(cause), cause)),
    );
    if (result.code !== 0) throw failed(result.stderr.trim() || `ended with ${result.code}`);
    return result.stdout;
  }
}

/** @throws ShoalError E_BAD_INPUT */
function ipAddress(host: string): string {
  if (parseAddress(host) !== null) return host;
  throw new ShoalError('E_BAD_INPUT', `"${host}" is not an IP address`, { detail: { field: 'host' } });
}

/** @returns the first `length` hex digits of SHA-256. */
function hash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}
