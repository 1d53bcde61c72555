/**
 * The bodies of all records of the ledger: kinds, keys and schemas (DESIGN section 2).
 * Not here: envelopes, signatures and merging (protocols/ledger), and who may write what (protocols/trust).
 */
import Type, { type Static, type TSchema } from 'typebox';
import { TIME_MS_MAX } from './clock.ts';
import type { Digest, KeyId, NodeId } from './ids.ts';
import { ResourcesSchema, type SlotName, WorkloadSpecSchema } from './workload.ts';

const Key = Type.Unsafe<KeyId>(Type.String({ minLength: 40, maxLength: 64 }));
const DigestSchema = Type.Unsafe<Digest>(Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }));
const Hex = (bytes: number) => Type.String({ pattern: `^[0-9a-f]{${bytes * 2}}$` });
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** Milliseconds since the Unix epoch that can be told as a date. */
const Time = Type.Integer({ minimum: 0, maximum: TIME_MS_MAX });
const Text = (length_max: number) => Type.String({ maxLength: length_max });
const OrNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Operators that genesis may name. */
export const OPERATORS_MAX = 5;
/** Grants that a revocation may name as staying: 66 bytes each, so that they take half of what a record may hold. */
export const KEEPS_MAX = 1024;

/** `genesis/`: the first record. Its payload hash is the cluster's id. */
export const GenesisSchema = Type.Object({
  name: Text(63),
  /** The most senior first: where operators revoke one another, the earlier in this list prevails. */
  operators: Type.Array(Key, { minItems: 1, maxItems: OPERATORS_MAX }),
  /** How many operators it takes to appoint or revoke an operator; absent: 1. */
  threshold: Type.Optional(Type.Integer({ minimum: 1, maximum: OPERATORS_MAX })),
  /** The cluster's range for container subnets, such as 10.210.0.0/16; every node takes a /24 of it. */
  range: Text(43),
  nonce: Hex(16),
});

export const ROLES = ['member', 'worker', 'deployer', 'admitter', 'operator', 'admit'] as const;
export type Role = (typeof ROLES)[number];
/** Roles of hosts; the others are of operators and of tokens. */
export const NODE_ROLES = ['member', 'worker', 'deployer', 'admitter'] as const satisfies readonly Role[];
const RoleSchema = Type.Unsafe<Role>(Type.Union(ROLES.map((role) => Type.Literal(role))));

/** `grant/<subject>/<issuer>`: this key may do this, until then, says the author, who may say so by `parent`. */
export const GrantSchema = Type.Object({
  subject: Key,
  roles: Type.Array(RoleSchema, { minItems: 1, maxItems: 8 }),
  /** Roles that the subject may hand on; only for `admit` and `admitter`. */
  admits: Type.Array(RoleSchema, { maxItems: 8 }),
  /** The record digest of the issuer's own grant, in hex; null when the issuer is an operator of genesis. */
  parent: OrNull(Hex(32)),
  /** Milliseconds since the Unix epoch; null: until revoked. */
  notAfter_ms: OrNull(Time),
  /** How many grants the subject may issue; null: no limit. */
  uses: OrNull(Count),
  /** The longest life of a grant that the subject issues; absent: they may be for ever. Of join tokens. */
  life_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: TIME_MS_MAX / 2 })),
  /** Digest of an older grant of the same subject that this one only prolongs; absent: it stands by itself. */
  renews: Type.Optional(Hex(32)),
});

/**
 * `revoke/<subject>/<author>`: the subject may do nothing any more, and nothing that it wrote after its sequence
 * `last` of `epoch` counts.
 */
export const RevokeSchema = Type.Object({
  subject: Key,
  epoch: Count,
  last: Count,
  reason: Text(256),
  /** True: all grants and revocations that it issued go too, wherever they stand; absent: those up to `last` stay. */
  descendants: Type.Optional(Type.Boolean()),
  /**
   * Digests of grants that it issued and that stay whatever the rest says, and of revocations up to `last` that do; another
   * revocation may void them all the same.
   */
  keeps: Type.Optional(Type.Array(Hex(32), { maxItems: KEEPS_MAX })),
});

/** `member/<node>` */
export const MemberSchema = Type.Object({
  name: Text(63),
  /** Raised at every start and at every refutation. */
  incarnation: Count,
  /** Multiaddrs of the mesh, and of the door where strangers with a token are let in. */
  addresses: Type.Array(Text(256), { maxItems: 16 }),
  doors: Type.Array(Text(256), { maxItems: 16 }),
  /** The IP address that other hosts reach this one at: VXLAN endpoint, host-network services, node DNS. */
  host: Text(45),
  labels: Type.Record(Text(128), Text(256)),
  /** What workloads may have of this host in total. */
  capacity: ResourcesSchema,
  /** A /24 of the cluster's range, or null when containers use the host's network. */
  subnet: OrNull(Text(18)),
  driver: Type.Union([Type.Literal('oci'), Type.Literal('process'), Type.Literal('memory')]),
  version: Text(32),
  /** Another daemon runs with this node's key, at these addresses as far as they are known; absent: none does. */
  copy: Type.Optional(Type.Array(Text(256), { maxItems: 16 })),
});

/** `verdict/<watcher>/<subject>`: what one watcher holds of a member's incarnation. */
export const VerdictSchema = Type.Object({
  subject: Key,
  incarnation: Count,
  verdict: Type.Union([Type.Literal('alive'), Type.Literal('failed')]),
});

/** Within one attempt a phase only moves to the right; stopped, failed and refused are terminal. */
export const PHASES = [
  'claimed',
  'pulling',
  'starting',
  'running',
  'stopping',
  'stopped',
  'failed',
  'refused',
] as const;
export type Phase = (typeof PHASES)[number];

/** `alloc/<node>/<namespace>/<name>/<index>`: a node fills a slot. */
export const AllocationSchema = Type.Object({
  node: Key,
  namespace: Text(63),
  workload: Text(63),
  index: Count,
  /** Of the workload record that this runs: its generation, and its digest in hex. */
  generation: Count,
  revision: Hex(32),
  /** Counts claims of this slot by this node. */
  attempt: Count,
  phase: Type.Unsafe<Phase>(Type.Union(PHASES.map((phase) => Type.Literal(phase)))),
  health: Type.Union([Type.Literal('unknown'), Type.Literal('healthy'), Type.Literal('unhealthy')]),
  address: OrNull(Text(45)),
  ports: Type.Record(Text(63), Type.Integer({ minimum: 1, maximum: 65535 })),
  resources: ResourcesSchema,
  /** When this attempt was claimed, and until when a refusal holds, by the node's clock. */
  since_ms: Time,
  until_ms: OrNull(Time),
  reason: OrNull(Text(512)),
  exitCode: OrNull(Type.Integer()),
  restarts: Count,
});

export const BlobSchema = Type.Object({
  digest: DigestSchema,
  size: Count,
  mediaType: Text(256),
  /** BitTorrent v1 infohash in hex, or null for a blob that travels whole over a mesh stream. */
  infohash: OrNull(Hex(20)),
});

/** `image/<node>/<manifest digest>`: a node imported this image; equal bytes make equal records. */
export const ImageSchema = Type.Object({
  manifest: BlobSchema,
  config: BlobSchema,
  layers: Type.Array(BlobSchema, { maxItems: 500 }),
  platform: Text(64),
});

/** `tag/<name:tag>` */
export const TagSchema = Type.Object({ digest: DigestSchema });

/** `workload/<namespace>/<name>`; a removal is a tombstone. The generation is in the record's header. */
export const WorkloadSchema = Type.Object({
  /** True: keep the spec, run nothing. */
  stopped: Type.Boolean(),
  spec: WorkloadSpecSchema,
});

/** `intent/<node>` */
export const IntentSchema = Type.Object({
  intent: Type.Union([Type.Literal('active'), Type.Literal('cordoned'), Type.Literal('draining')]),
});

const RoundSchema = Type.Object({ upTo_ms: Count, hash: Hex(16) });

/**
 * `ack/<node>`: all tombstones up to that stamp that the node holds have this hash; what else it has acknowledged
 * since it last collected, and up to where it has; and whether it doubts its disk, and vouches for nothing.
 */
export const AckSchema = Type.Object({
  upTo_ms: Count,
  hash: Hex(16),
  collected_ms: Count,
  isInDoubt: Type.Boolean(),
  before: Type.Array(RoundSchema),
});

/** `evidence/<accuser>/<accused>`: two envelopes with one number of one author. */
export const EvidenceSchema = Type.Object({
  first: Type.Unsafe<Uint8Array>({}),
  second: Type.Unsafe<Uint8Array>({}),
});

/** Kind to body schema. A kind that is not here is kept and forwarded, and seen by nobody. */
export const RECORD_SCHEMAS = {
  genesis: GenesisSchema,
  grant: GrantSchema,
  revoke: RevokeSchema,
  member: MemberSchema,
  verdict: VerdictSchema,
  alloc: AllocationSchema,
  image: ImageSchema,
  tag: TagSchema,
  workload: WorkloadSchema,
  intent: IntentSchema,
  ack: AckSchema,
  evidence: EvidenceSchema,
} as const;

export type RecordKind = keyof typeof RECORD_SCHEMAS;
export type BodyOf<K extends RecordKind> = Static<(typeof RECORD_SCHEMAS)[K]>;

export type GenesisBody = BodyOf<'genesis'>;
export type GrantBody = BodyOf<'grant'>;
export type RevokeBody = BodyOf<'revoke'>;
export type MemberBody = BodyOf<'member'>;
export type VerdictBody = BodyOf<'verdict'>;
export type AllocationBody = BodyOf<'alloc'>;
export type Blob = Static<typeof BlobSchema>;
export type ImageBody = BodyOf<'image'>;
export type WorkloadBody = BodyOf<'workload'>;
export type AckBody = BodyOf<'ack'>;
export type EvidenceBody = BodyOf<'evidence'>;
export type Intent = BodyOf<'intent'>['intent'];

/** Of a key: most often the id of who or what it is about. */
export function firstPart(key: string): string {
  const end = key.indexOf('/');
  return end < 0 ? key : key.slice(0, end);
}

/** The key of each kind, without the kind itself. */
export const recordKey = {
  member: (node: NodeId) => node,
  verdict: (watcher: NodeId, subject: NodeId) => `${watcher}/${subject}`,
  alloc: (node: NodeId, slot: SlotName) => `${node}/${slot}`,
  image: (node: NodeId, digest: Digest) => `${node}/${digest}`,
  grant: (subject: KeyId, issuer: KeyId) => `${subject}/${issuer}`,
  ack: (node: NodeId) => node,
  revoke: (subject: KeyId, author: KeyId) => `${subject}/${author}`,
};
