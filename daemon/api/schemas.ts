/**
 * The data of the HTTP API: every request and response body as a TypeBox schema and its type.
 * Routes validate with these, OpenAPI is generated from them, the CLI takes the types only.
 * Not here: routes (routes/), the daemon's side (backend.ts), trust and history (trust-schemas.ts). Names of fields end
 * in their unit.
 */
import Type, { type Static } from 'typebox';
import {
  AllocationSchema as AllocationRecordSchema,
  MemberSchema,
  NODE_ROLES,
  OPERATORS_MAX,
} from '../../protocols/base/records.ts';
import { REPLICAS_MAX, WorkloadSpecSchema } from '../../protocols/base/workload.ts';
import { NODE_TTL_MS_RANGE, TOKEN_TTL_MS_RANGE, TOKEN_USES_RANGE } from './limits.ts';
import { Count, closed, Given, Label, NodeText, OneOf, OperatorKey, OrNull, Text } from './schema-parts.ts';

/** RFC 9457 problem details, with the stable code and what to do next. */
export const ProblemSchema = Type.Object({
  type: Text(256),
  title: Text(64),
  status: Type.Integer({ minimum: 400, maximum: 599 }),
  /** What happened, for a person. */
  detail: Text(4096),
  /** One of docs/reference/errors.md. */
  code: Text(64),
  next: Text(512),
  /** Particulars, such as the field at fault. */
  particulars: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});
export type Problem = Static<typeof ProblemSchema>;

export const VersionSchema = Type.Object({
  version: Text(32),
  /** Version of this API. */
  api: Type.Literal('v1'),
  /** Version of Node.js that the daemon runs on. */
  runtime: Text(32),
});
export type Version = Static<typeof VersionSchema>;

export const ClusterSchema = Type.Object({
  /** Hash of the genesis record, hex. */
  id: Text(64),
  name: Text(63),
  /** This node in it. */
  node: Text(64),
  nodeName: Text(63),
});
export type Cluster = Static<typeof ClusterSchema>;

export const JoinedSchema = Type.Object({
  ...ClusterSchema.properties,
  /** What a person should know of it, such as that this node was in the cluster before. */
  notes: Type.Array(Text(512)),
});
export type Joined = Static<typeof JoinedSchema>;

const TransferSchema = Type.Object({ node: Text(64), nodeName: Text(63), bytes: Count });

export const StatusSchema = Type.Object({
  version: Text(32),
  /** Null before `init` or `join`. */
  cluster: OrNull(ClusterSchema),
  node: Text(64),
  nodeName: Text(63),
  driver: OneOf(['oci', 'process', 'memory']),
  network: OneOf(['vxlan', 'host']),
  /** Mesh multiaddrs and doors that this node listens on; empty before a cluster. */
  addresses: Type.Array(Text(256)),
  doors: Type.Array(Text(256)),
  /** `address:port` of each DNS listener. */
  dns: Type.Array(Text(64)),
  subnet: OrNull(Text(18)),
  /** What this node's own key may still do; null before a cluster. */
  standing: OrNull(
    Type.Object({
      /**
       * `expired`: its work goes on, and members refuse it until it is renewed or joins anew. `revoked`, `evicted`: for
       * good.
       */
      state: OneOf(['member', 'expired', 'revoked', 'evicted']),
      /** When its grant ends or ended; null: never. */
      until_ms: OrNull(Count),
      /** Until when an admitter may renew it; null: it has no end, or cannot be renewed. */
      renewableUntil_ms: OrNull(Count),
      /** Why it was revoked or evicted. */
      reason: OrNull(Text(256)),
    }),
  ),
  /** Lines of this node's history from before it were lost with a part of its disk; null: none was. */
  historyLost_ms: OrNull(Count),
  /** Why other members would not take what is asked of this node, which it refuses (E_CLOCK_AHEAD); null: they would. */
  clockRefusal: OrNull(Text(512)),
  pid: Count,
  started_ms: Count,
  members: Type.Object({ alive: Count, suspect: Count, failed: Count }),
  /** How others stand with this node, and what it made of what they sent since it started. */
  guard: Type.Object({
    /** Only those who are limited or banned, or were banned not long ago. */
    peers: Type.Array(
      Type.Object({
        node: Text(64),
        nodeName: Text(63),
        standing: OneOf(['good', 'limited', 'banned']),
        /** Bans that are not forgotten. */
        bans: Count,
        until_ms: OrNull(Type.Number()),
      }),
    ),
    /** By name of the offence. */
    offences: Type.Record(Type.String(), Count),
    /** By what they would have used up: bytes, messages, streams… */
    refused: Type.Record(Type.String(), Count),
    bans: Count,
    /** Gossip of others, in messages, that was not passed on for it is more than peers allow; anti-entropy brings it. */
    notRelayed: Count,
  }),
  /** What is not as it should be with this node; empty when all is well. */
  problems: Type.Array(
    Type.Object({
      kind: OneOf(['membership', 'disk', 'clock', 'quarantine', 'copied-key', 'flagged-key', 'same-name']),
      message: Text(1024),
    }),
    { maxItems: 20 },
  ),
  /** Image bytes since start, by peer. */
  traffic: Type.Object({ received: Type.Array(TransferSchema), sent: Type.Array(TransferSchema) }),
});
export type Status = Static<typeof StatusSchema>;

export const InitRequestSchema = Type.Object(
  {
    name: Type.Optional(Label),
    /** Ids of operator keys that are kept elsewhere, the most senior first; the one on this node comes after them. */
    recovery: Type.Optional(Type.Array(Given(64), { minItems: 1, maxItems: OPERATORS_MAX - 1 })),
    /** How many of all operators it takes to appoint or revoke an operator; default 1. */
    threshold: Type.Optional(Type.Integer({ minimum: 1, maximum: OPERATORS_MAX })),
  },
  closed,
);
export type InitRequest = Static<typeof InitRequestSchema>;

export const JoinRequestSchema = Type.Object({ token: Given(8192) }, closed);
export type JoinRequest = Static<typeof JoinRequestSchema>;

export const TokenRequestSchema = Type.Object(
  {
    /** What the joiner may do; default: member, worker, deployer. It must be a member to join. */
    roles: Type.Optional(Type.Array(OneOf(NODE_ROLES), { minItems: 1, maxItems: NODE_ROLES.length })),
    /** Lifetime; default 15 minutes. */
    ttl_ms: Type.Optional(Type.Integer(TOKEN_TTL_MS_RANGE)),
    /** How many hosts may join with it; default 1. */
    uses: Type.Optional(Type.Integer(TOKEN_USES_RANGE)),
    /** How long a host that joins is a member unless it is renewed; default: until it is revoked. */
    nodeTtl_ms: Type.Optional(Type.Integer(NODE_TTL_MS_RANGE)),
    operatorKey: OperatorKey,
  },
  closed,
);
export type TokenRequest = Static<typeof TokenRequestSchema>;

export const TokenSchema = Type.Object({
  /** A secret: whoever has it may join. */
  token: Text(8192),
  /** No secret: what it is listed and revoked by. */
  id: Text(64),
  expires_ms: Count,
  uses: Count,
});
export type Token = Static<typeof TokenSchema>;

export const MemberStatusSchema = OneOf(['alive', 'suspect', 'failed']);
export const IntentSchema = OneOf(['active', 'cordoned', 'draining']);

export type Intent = Static<typeof IntentSchema>;

export const NodeSchema = Type.Object({
  ...MemberSchema.properties,
  id: Text(64),
  status: MemberStatusSchema,
  intent: IntentSchema,
  worker: Type.Boolean(),
  /** This is the node that answers. */
  self: Type.Boolean(),
  /** Its key signed two records with one number: copied, or stolen. */
  flagged: Type.Boolean(),
  /** Two daemons run with its key now, as it says itself; `copy` has where the other one is. */
  copied: Type.Boolean(),
  /** Resources reserved by live allocations there. */
  used: Type.Object({ cpu_millis: Count, memory_bytes: Count }),
  instances: Count,
});
/** A member, as seen from the node that answers. */
export type NodeInfo = Static<typeof NodeSchema>;

export const IntentRequestSchema = Type.Object({ intent: IntentSchema }, closed);
export type IntentRequest = Static<typeof IntentRequestSchema>;

/** A workload specification as a user sends it: what is absent takes the default of SPEC_DEFAULTS. */
export const SpecInputSchema = Type.Intersect([
  Type.Partial(WorkloadSpecSchema),
  Type.Object({ name: Label, image: Given(512) }),
]);

/** A version of a workload or tag that stands beside the one in force. */
export const SiblingSchema = Type.Object({
  author: Text(64),
  /** The node that it was written at. */
  authorName: Text(96),
  generation: Count,
  /** By its author's clock. */
  written_ms: Count,
  revision: Text(64),
  /** How it differs from the one in force, such as `replicas 2 -> 3`, or `deleted`. */
  difference: Text(512),
});
export type Sibling = Static<typeof SiblingSchema>;

export const WorkloadInfoSchema = Type.Object({
  namespace: Label,
  name: Label,
  generation: Count,
  revision: Text(64),
  stopped: Type.Boolean(),
  spec: WorkloadSpecSchema,
  author: Text(64),
  /** The node that it was written at. */
  authorName: Text(96),
  written_ms: Count,
  /** Versions that were written without knowledge of this one, and lost. Kept until somebody writes again. */
  siblings: Type.Array(SiblingSchema),
  /** Instances: asked for, in phase `running`, and healthy among these, on members that are not failed. */
  desired: Count,
  running: Count,
  healthy: Count,
});
export type WorkloadInfo = Static<typeof WorkloadInfoSchema>;

/** Path parameters of a workload. */
export const WorkloadRefSchema = Type.Object({ namespace: Label, name: Label });

export const ScaleRequestSchema = Type.Object(
  { replicas: Type.Integer({ minimum: 0, maximum: REPLICAS_MAX }) },
  closed,
);
export type ScaleRequest = Static<typeof ScaleRequestSchema>;

export const AllocationInfoSchema = Type.Object({
  ...AllocationRecordSchema.properties,
  /** `namespace/name/index` */
  slot: Text(160),
  nodeName: Text(63),
  /** An allocation of a failed member is history until the member is back. */
  nodeStatus: MemberStatusSchema,
});
export type AllocationInfo = Static<typeof AllocationInfoSchema>;

export const AllocationFilterSchema = Type.Object(
  {
    namespace: Type.Optional(Label),
    workload: Type.Optional(Label),
    node: Type.Optional(NodeText),
    /** Also terminal ones and those of failed members; default false. */
    all: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type AllocationFilter = Static<typeof AllocationFilterSchema>;

export const LayerProgressSchema = Type.Object({
  digest: Text(71),
  size: Count,
  done: Count,
  phase: OneOf(['waiting', 'fetching', 'verifying', 'unpacking', 'ready']),
  /** Bytes so far by the node they came from. */
  sources: Type.Array(TransferSchema),
});
export type LayerProgress = Static<typeof LayerProgressSchema>;

/**
 * One line of `watch`: the whole state of a workload as this node knows it, so that a lost line does no harm.
 */
export const WatchEventSchema = Type.Object({
  at_ms: Count,
  workload: WorkloadInfoSchema,
  /** Live ones, and the latest terminal one of each slot that has no live one. */
  allocations: Type.Array(AllocationInfoSchema),
  /** Fetch of the workload's image, for each node that fetches it or has it now. */
  images: Type.Array(
    Type.Object({ node: Text(64), nodeName: Text(63), layers: Type.Array(LayerProgressSchema) }),
  ),
  /** Slots that nobody takes, with why. */
  waiting: Type.Array(Type.Object({ index: Count, reasons: Type.Array(Text(512)) })),
});
export type WatchEvent = Static<typeof WatchEventSchema>;

export const LogsQuerySchema = Type.Object(
  {
    /** Which slot; default: the only one, or the lowest that runs. */
    index: Type.Optional(Count),
    node: Type.Optional(NodeText),
    follow: Type.Optional(Type.Boolean()),
    tail: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
  },
  closed,
);
export type LogsQuery = Static<typeof LogsQuerySchema>;

export const LogEventSchema = Type.Object({
  at_ms: OrNull(Count),
  stream: OneOf(['stdout', 'stderr']),
  text: Text(65_536),
});
export type LogEvent = Static<typeof LogEventSchema>;

export const ExecQuerySchema = Type.Object(
  { index: Type.Optional(Count), node: Type.Optional(NodeText) },
  closed,
);
export type ExecQuery = Static<typeof ExecQuerySchema>;

export const ExecRequestSchema = Type.Object(
  {
    argv: Type.Array(Text(32_768), { minItems: 1, maxItems: 256 }),
    /** base64 (RFC 4648), at most EXEC_STDIN_BYTES_MAX decoded. */
    stdin: Type.Optional(Type.String()),
  },
  closed,
);
export type ExecRequest = Static<typeof ExecRequestSchema>;

/** Output as it comes (`data` in base64), then one line with `exit`. */
export const ExecEventSchema = Type.Union([
  Type.Object({ stream: OneOf(['stdout', 'stderr']), data: Type.String() }),
  Type.Object({ exit: Type.Integer() }),
]);
export type ExecEvent = Static<typeof ExecEventSchema>;

export const ImportRequestSchema = Type.Object(
  {
    /** Absolute path on the daemon's host: OCI layout (directory or tar) or `docker save` archive. */
    path: Type.String({ pattern: '^/', maxLength: 4096 }),
    /** `name:tag`; needed when the source names nothing. */
    name: Type.Optional(Given(512)),
  },
  closed,
);
export type ImportRequest = Static<typeof ImportRequestSchema>;

export const BuildRequestSchema = Type.Object(
  {
    directory: Type.String({ pattern: '^/', maxLength: 4096 }),
    name: Given(512),
    /** Name or digest of an image that is on this host. */
    base: Type.Optional(Given(512)),
    entrypoint: Type.Optional(Type.Array(Text(32_768), { maxItems: 256 })),
    command: Type.Optional(Type.Array(Text(32_768), { maxItems: 256 })),
    env: Type.Optional(Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,255}$' }), Text(32_768))),
    workingDir: Type.Optional(Text(4096)),
    user: Type.Optional(Text(256)),
    ports: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: 65535 }), { maxItems: 64 })),
  },
  closed,
);
export type BuildRequest = Static<typeof BuildRequestSchema>;

export const ImportedSchema = Type.Object({
  digest: Text(71),
  names: Type.Array(Text(512)),
  /** Sum of its layers. */
  size: Count,
  layers: Count,
  /** Newly stored; blobs that were there do not count. */
  bytes: Count,
});
/** What an import or a build made. */
export type Imported = Static<typeof ImportedSchema>;

export const ImageInfoSchema = Type.Object({
  digest: Text(71),
  names: Type.Array(Text(512)),
  size: Count,
  platform: Text(64),
  layers: Type.Array(Type.Object({ digest: Text(71), size: Count, infohash: OrNull(Text(40)) })),
  /** The node that imported it. */
  author: Text(64),
  /** All its blobs are on the node that answers. */
  here: Type.Boolean(),
  /** Its names that were given to other images, or taken away, at the same time: by whom, and by whom to this one. */
  conflicts: Type.Array(
    Type.Object({ name: Text(512), winner: SiblingSchema, siblings: Type.Array(SiblingSchema) }),
  ),
});
export type ImageInfo = Static<typeof ImageInfoSchema>;
