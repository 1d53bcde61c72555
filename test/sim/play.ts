/** Plays one run: a founded cluster, a scenario, and the time until all agree again. Not here: what it is judged by. */
import { MEMBERSHIP_DEFAULTS, type MembershipConfig } from '../../protocols/membership/config.ts';
import { ByzantineNode } from './byzantine-node.ts';
import type { Run } from './checkers/checker.ts';
import { flawOf } from './checkers/views-converge.ts';
import { Chronicle } from './chronicle.ts';
import { foundCluster } from './found-cluster.ts';
import { ACCESS } from './network.ts';
import { Peaks } from './peaks.ts';
import { SCENARIOS, type Scenario, WARM_UP_MS } from './scenarios.ts';
import { LEDGER, MEMBER, type ShoalInit, ShoalNode } from './shoal-node.ts';
import { EPOCH_MS, Simulator } from './simulator.ts';
import { RECOVERED_MS, SKEW_MS_MAX, Stage } from './stage.ts';
import { GOSSIP, UNWANTED } from './transport.ts';
import { VirtualDisk } from './virtual-disk.ts';

/** All are switched on at about the same time. */
const BOOT_MS_MAX = 1000;
/** Genesis and grants are older than any run. */
const FOUNDED_MS = EPOCH_MS - 1_000_000;
/** How often it is asked whether all agree, and after how long they have to agree still. */
const ASKED_MS = 50;
const AFTER_MS = 5000;
const BYZANTINE_SHARE = 0.1;
/** Larger clusters begin as if they had always run: that all announce themselves at once is quadratic, and no news. */
const COLD_NODES_MAX = 100;
const HOUR_MS = 3_600_000;
export const NODES_MIN = 2;
/** Virtual: how often it is told how far it is, and who is held as failed is looked at; and what nodes keep. */
const PROGRESS_MS = 10_000;
const LOOKED_MS = 1000;
/** In which a wrong verdict must have been taken back, by when both are as healthy as others. */
const TAKEN_BACK_MS = 10_000;

export interface SimulationInit {
  readonly nodes_count: number;
  readonly seed: number;
  readonly scenario: string;
  /** How long the faults go on, where the scenario has no time of its own; its usual time when nothing is said. */
  readonly hours?: number;
  /** Whether to reckon the trace. */
  readonly isTraced?: boolean;
  readonly config?: MembershipConfig;
  /** Told now and then while faults go on. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly virtual_ms: number;
  /** Of the last fault. */
  readonly until_ms: number;
  readonly falseVerdicts_count: number;
}

const CHANNELS = { gossip: GOSSIP, unwanted: UNWANTED, ledger: LEDGER, member: MEMBER };
type Channel = keyof typeof CHANNELS;

/** What only a run under way can measure. */
export interface Measured {
  /** Between warm-up and the last fault, of all nodes. */
  readonly steady: {
    readonly seconds: number;
    readonly bytes: number;
    readonly messages: number;
    /** Of the bytes, by what they were for. */
    readonly channel_bytes: Readonly<Record<Channel, number>>;
  };
  /** From the last fault until all agree: what anti-entropy brought to all nodes, and what they had lacked. */
  readonly repair: { readonly bytes: number; readonly difference_bytes: number };
}

/** @throws RangeError for a scenario that there is not, or fewer nodes than it is of. */
export function play(init: SimulationInit): Run & { readonly measured: Measured } {
  const { scenario: name } = init;
  const scenario = Object.hasOwn(SCENARIOS, name) ? SCENARIOS[name] : undefined;
  if (scenario === undefined)
    throw new RangeError(`no scenario ${name}: ${Object.keys(SCENARIOS).join(', ')}`);
  return perform({ ...setUp(init, scenario), scenario }, init.onProgress);
}

/** A world before anything has happened in it, and what is in it. */
export type SetUp = Pick<Run, 'world' | 'stage' | 'cluster' | 'chronicle'>;

/** Puts up the hosts that a scenario wants. @throws RangeError for fewer nodes than it is of. */
export function setUp(
  init: SimulationInit,
  scenario: Pick<Scenario, 'access' | 'newcomers_count' | 'attack' | 'nodes_min'>,
): SetUp {
  const { nodes_count, seed, scenario: name, config = MEMBERSHIP_DEFAULTS } = init;
  const { nodes_min = NODES_MIN } = scenario;
  if (!Number.isSafeInteger(nodes_count) || nodes_count < nodes_min)
    throw new RangeError(`${name} is of ${nodes_min} nodes or more`);
  const newcomers_count = Math.min(scenario.newcomers_count?.(nodes_count) ?? 0, nodes_count - 2);
  const cluster = foundCluster(nodes_count, newcomers_count, FOUNDED_MS);
  const ids = [...cluster.signers.keys()];
  const present = ids.slice(0, nodes_count - newcomers_count);
  const byzantine_count =
    scenario.attack === undefined ? 0 : Math.max(1, Math.floor(nodes_count * BYZANTINE_SHARE));
  const byzantine = present.slice(present.length - byzantine_count);
  const disks = new Map(ids.map((id) => [id, new VirtualDisk(cluster.records)]));
  const chronicle = new Chronicle();
  let later_count = 0;
  const later = { signer: cluster.visitor, next: () => ++later_count };
  const world: Simulator<ShoalNode> = new Simulator(
    `${name}/${nodes_count}/${seed}`,
    (host) => {
      const signer = cluster.signers.get(host.id)!;
      const shoal: ShoalInit = {
        cluster,
        signers: host.id === ids[0] ? [signer, cluster.operator] : [signer],
        member: cluster.members.get(host.id)!,
        disk: disks.get(host.id)!,
        config,
        chronicle,
        isWarm: nodes_count > COLD_NODES_MAX && cluster.roster.has(host.id),
        later,
        now_ms: () => world.now_ms,
      };
      return byzantine.includes(host.id)
        ? new ByzantineNode(host, shoal, scenario.attack!)
        : new ShoalNode(host, shoal);
    },
    init.isTraced ?? false,
  );
  for (const [at, id] of ids.entries()) {
    const skew_ms = Math.round(world.prng.between(-SKEW_MS_MAX, SKEW_MS_MAX));
    world.add(id, scenario.access?.(at) ?? ACCESS.lan, skew_ms);
  }
  for (const id of present) world.at(world.prng.between(0, BOOT_MS_MAX), () => world.start(id));
  const stage = new Stage({
    world,
    nodes: present.filter((id) => !byzantine.includes(id)),
    newcomers: ids.slice(present.length),
    byzantine,
    disks,
    faults_ms: init.hours === undefined ? null : init.hours * HOUR_MS,
  });
  chronicle.byzantine = new Set(byzantine);
  chronicle.judge = (node, member) => {
    if (stage.dead.has(member)) return 'dead';
    return stage.excuseOf(node, member) ?? 'healthy';
  };
  return { world, stage, cluster, chronicle };
}

function perform(
  cast: SetUp & { readonly scenario: Scenario },
  onProgress: SimulationInit['onProgress'],
): Run & { readonly measured: Measured } {
  const { world, stage, scenario, cluster, chronicle } = cast;
  const story = scenario.tell(stage);
  const living = () =>
    new Map(
      world.hosts.flatMap(({ id, node }) => {
        const isOurs = node !== null && !stage.byzantine.includes(id) && !stage.revoked.has(id);
        return isOurs ? [[id, node] as const] : [];
      }),
    );
  const total = (of: 'received_bytes' | 'received_count') =>
    world.hosts.reduce((sum, host) => sum + host[of], 0);
  const peaks = new Peaks();
  const look = () => {
    for (const { id, node } of world.hosts)
      if (node !== null && !stage.byzantine.includes(id)) peaks.look(id, node);
  };
  while (world.now_ms < WARM_UP_MS) {
    world.runUntil(Math.min(WARM_UP_MS, world.now_ms + LOOKED_MS));
    look();
  }
  const channelTotal = (channel: Channel) => world.transport.receivedOn_bytes(CHANNELS[channel]);
  const channels = Object.keys(CHANNELS) as Channel[];
  const channelsBefore = channels.map(channelTotal);
  const before = { bytes: total('received_bytes'), messages: total('received_count') };
  const { lastFault_ms: until_ms } = story;
  for (let turns_count = 1; world.now_ms < until_ms; turns_count += 1) {
    world.runUntil(Math.min(until_ms, world.now_ms + LOOKED_MS));
    look();
    if (turns_count % (PROGRESS_MS / LOOKED_MS) !== 0 && world.now_ms < until_ms) continue;
    noteHeld(world, stage, chronicle);
    const falseVerdicts_count = chronicle.falseVerdicts.length + chronicle.heldWrongly.length;
    onProgress?.({ virtual_ms: world.now_ms, until_ms, falseVerdicts_count });
  }
  for (const id of stage.byzantine) (world.host(id).node as ByzantineNode | null)?.desist();
  const healed = { bytes: total('received_bytes'), messages: total('received_count') };
  const channel_bytes = Object.fromEntries(
    channels.map((channel, at) => [channel, channelTotal(channel) - channelsBefore[at]!]),
  ) as Record<Channel, number>;
  const healedOnLedger_bytes = channelTotal('ledger');
  const difference_bytes = differenceOf([...living().values()]);
  let converged_ms: number | null = null;
  let repair_bytes = 0;
  const end_ms = story.lastFault_ms + story.converged_ms_max;
  while (converged_ms === null && world.now_ms < end_ms) {
    world.runUntil(Math.min(end_ms, world.now_ms + ASKED_MS));
    look();
    const whole_ms = world.now_ms - story.lastFault_ms;
    const isAll = isWhole(world, stage, living());
    repair_bytes = channelTotal('ledger') - healedOnLedger_bytes;
    if (!isAll) continue;
    world.runUntil(world.now_ms + AFTER_MS);
    // A connection that was broken long before may be given up just then: that it is doubted for a moment is no flaw.
    if (isWhole(world, stage, living())) converged_ms = whole_ms;
  }
  return {
    cluster,
    world,
    stage,
    story,
    chronicle,
    peaks,
    living: living(),
    attack: scenario.attack,
    converged_ms,
    measured: {
      steady: {
        seconds: (story.lastFault_ms - WARM_UP_MS) / 1000,
        bytes: healed.bytes - before.bytes,
        messages: healed.messages - before.messages,
        channel_bytes,
      },
      repair: { bytes: repair_bytes, difference_bytes },
    },
  };
}

/** Notes who holds whom as failed though both have been well for long. It looks at those that are held so alone. */
export function noteHeld(world: Run['world'], stage: Stage, chronicle: Chronicle): void {
  const wellFor_ms = RECOVERED_MS + TAKEN_BACK_MS;
  for (const { id, node } of world.hosts) {
    if (node === null || node.membership.failed.size === 0 || !stage.isWell(id, wellFor_ms)) continue;
    for (const member of node.membership.failed.keys())
      if (stage.isWell(member, wellFor_ms)) chronicle.held(world.now_ms, id, member);
  }
}

function isWhole(world: Run['world'], stage: Stage, living: Run['living']): boolean {
  // A pause that has not ended yet is a fault, and is to show first.
  for (const id of living.keys()) if (world.host(id).busyUntil_ms > world.now_ms + ASKED_MS) return false;
  let hash: string | undefined;
  for (const { ledger, isAnnounced } of living.values()) {
    hash ??= ledger.ledger.hash;
    if (!isAnnounced || ledger.ledger.hash !== hash) return false;
  }
  for (const [id, node] of living) if (flawOf(world, stage, node, id) !== undefined) return false;
  return true;
}

/** Bytes of records that some nodes hold and others lack, summed over those that lack them. */
function differenceOf(nodes: readonly ShoalNode[]): number {
  const hashes = new Map(nodes.map((node) => [node.ledger.ledger.hash, node]));
  if (hashes.size <= 1) return 0;
  const sizes = new Map<string, number>();
  const sums = new Map<string, number>();
  for (const [hash, node] of hashes) {
    let sum = 0;
    for (const { digest, bytes } of node.ledger.ledger.records()) {
      sizes.set(digest, bytes.byteLength);
      sum += bytes.byteLength;
    }
    sums.set(hash, sum);
  }
  const whole = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  return nodes.reduce((sum, node) => sum + whole - sums.get(node.ledger.ledger.hash)!, 0);
}
