/**
 * The data of the API about trust and history: the cluster as a whole, grants, tokens, revocations and changes.
 * The rest is in schemas.ts; the rules of both are the same.
 */
import Type, { type Static, type TObject } from 'typebox';
import { CHANGE_KINDS } from '../../protocols/base/change-kinds.ts';
import { KEEPS_MAX, ROLES } from '../../protocols/base/records.ts';
import { GRANT_STATES } from '../../protocols/trust/standing.ts';
import { CHANGE_ACTIONS } from '../../protocols/view/change.ts';
import { Count, closed, Given, NodeText, OneOf, OperatorKey, OrNull, Text } from './schema-parts.ts';

/** Entries of each list in a plan, which counts all of them. */
export const PLAN_LISTED_MAX = 1000;
/** Lines that one answer holds. */
export const HISTORY_LIMIT_MAX = 10_000;
export const HISTORY_LIMIT = 50;

/** A key, and who that is: the name of a node, or what else the key is for. */
const KeyNameSchema = Type.Object({ key: Text(64), name: Text(96) });

export const OperatorSchema = Type.Object({
  ...KeyNameSchema.properties,
  /** Named by genesis: it is one by no votes. */
  genesis: Type.Boolean(),
  revoked: Type.Boolean(),
});
export type OperatorInfo = Static<typeof OperatorSchema>;

/** How a vote for a new operator has left things. */
export const AppointmentSchema = Type.Object({
  ...KeyNameSchema.properties,
  /** Operators that say so and whose votes count, of how many that it takes. */
  votes: Count,
  needed: Count,
  /** It is an operator now. */
  effective: Type.Boolean(),
  /** False: it is an operator already, or this was said before; nothing was changed. */
  written: Type.Boolean(),
  operators: Type.Array(OperatorSchema),
});
export type Appointment = Static<typeof AppointmentSchema>;

/** Revocations that one answer about the cluster names; it counts the others. */
export const REVOCATIONS_SHOWN_MAX = 1000;

/** A key that is to do nothing any more, and by whose word. */
const RevocationParts = {
  /** Digest of the record. */
  id: Text(64),
  ...KeyNameSchema.properties,
  by: KeyNameSchema,
  reason: Text(256),
  written_ms: Count,
  /** The last record of the key that counts. */
  epoch: Count,
  last: Count,
  /** Also all that the key let in, but what hangs on grants that are kept. */
  descendants: Type.Boolean(),
  /** Operators that say so, of how many that it takes. */
  votes: Count,
  needed: Count,
  effective: Type.Boolean(),
};
const StayingSchema = Type.Object({
  ...KeyNameSchema.properties,
  /** By whose word, and those of them that are hosts and may take that back. */
  by: Type.Array(KeyNameSchema),
  at: Type.Array(KeyNameSchema),
});
export const RevocationSchema = Type.Object({
  ...RevocationParts,
  /** Digests of grants that stay in any case. */
  keeps: Type.Array(Text(64)),
  /** Who is refused until it is renewed, and who stays by the word of others, of them the key itself: as its plan told. */
  untilRenewed: Type.Array(KeyNameSchema),
  staying: Type.Array(StayingSchema),
});
export type RevocationInfo = Static<typeof RevocationSchema>;

/** The same, with how many grants and revocations it keeps. */
const RevocationSummarySchema = Type.Object({ ...RevocationParts, keeps_count: Count });
export type RevocationSummary = Static<typeof RevocationSummarySchema>;

/** What is so now and would be no more, and the other way round: how many, and the first PLAN_LISTED_MAX of them. */
const TurnOf = <T extends TObject>(schema: T) =>
  Type.Object({
    ends_count: Count,
    returns_count: Count,
    ends: Type.Array(schema),
    returns: Type.Array(schema),
  });
const TokenRefSchema = Type.Object({ id: Text(64), key: Text(64), issuer: Text(64), issuerName: Text(96) });
const OpenTokenSchema = Type.Object({
  ...TokenRefSchema.properties,
  /** Name of a host that has the same key: it is revoked as a node, with `descendants`, and not as a token. */
  host: OrNull(Text(96)),
});
const RecordRefSchema = Type.Object({
  kind: Text(32),
  key: Text(512),
  author: Text(64),
  authorName: Text(96),
});
const RoleChangeSchema = Type.Object({
  ...KeyNameSchema.properties,
  gains: Type.Array(OneOf(ROLES)),
  loses: Type.Array(OneOf(ROLES)),
});

/** What a revocation would change, if it was made now. */
export const RevocationPlanSchema = Type.Object({
  /** Of the hosts, operators and tokens below: with it a revocation is refused if others would go by then. */
  digest: Text(64),
  /** The key that is to be refused, and the one that would sign. */
  ...KeyNameSchema.properties,
  by: KeyNameSchema,
  /** As of the revocation itself. */
  epoch: Count,
  last: Count,
  /** Records stamped before `since_ms` that are void, for they stand behind later ones: its clock was set, or the stamps. */
  early_count: Count,
  descendants: Type.Boolean(),
  keeps: Type.Array(Text(64)),
  votes: Count,
  needed: Count,
  effective: Type.Boolean(),
  /**
   * Hosts that were to be kept and would be no members, for another revocation or want of room under their token, and
   * operators that would go with those who had voted for them as well.
   */
  lacking: Type.Array(KeyNameSchema),
  /** Hosts that the key itself has revoked, and that stay out by that, for it counts still: the first PLAN_LISTED_MAX. */
  sentAway_count: Count,
  sentAway: Type.Array(KeyNameSchema),
  /** Keys that stay although they were not to be kept: hosts that are kept were let in through them alone. */
  unnamed: Type.Array(KeyNameSchema),
  /** Members that are kept by a name which so many hosts had that are no members any more. */
  namesakes: Type.Array(Type.Object({ ...KeyNameSchema.properties, others: Count })),
  /** Members, also those whose grant has ended and may be renewed; operators; tokens that hosts can join with. */
  nodes: TurnOf(KeyNameSchema),
  /** Members that are none until an admitter has renewed them, for who did is to go: the first PLAN_LISTED_MAX. */
  untilRenewed_count: Count,
  untilRenewed: Type.Array(KeyNameSchema),
  /** Hosts that lose a grant and stay members by what others granted, of them the key itself: the first PLAN_LISTED_MAX. */
  staying_count: Count,
  staying: Type.Array(StayingSchema),
  /** Hosts that stay, and may do other things then: the first PLAN_LISTED_MAX. */
  roles_count: Count,
  roles: Type.Array(RoleChangeSchema),
  operators: TurnOf(KeyNameSchema),
  /** Fewer operators would remain than it takes to appoint or dismiss one: that could never be mended. */
  leavesTooFew: Type.Boolean(),
  tokens: TurnOf(TokenRefSchema),
  /** What users wrote (workloads, names of images, images, intents) that counts. */
  records: TurnOf(RecordRefSchema),
  /** Tokens that the key, or a token of it, made and that hosts can still join with afterwards: the first PLAN_LISTED_MAX. */
  open_count: Count,
  open: Type.Array(OpenTokenSchema),
});
export type RevocationPlan = Static<typeof RevocationPlanSchema>;

export const ClusterInfoSchema = Type.Object({
  id: Text(64),
  name: Text(63),
  created_ms: Count,
  /** Of container subnets. */
  range: Text(43),
  /** Keys that may do everything, the most senior first; so many of them must agree about one of themselves. */
  operators: Type.Array(OperatorSchema),
  threshold: Count,
  members: Type.Object({ alive: Count, suspect: Count, failed: Count }),
  /** Members by what they may do. */
  roles: Type.Array(Type.Object({ role: OneOf(ROLES), members: Count })),
  /** Those that change something, and all votes of operators: at most REVOCATIONS_SHOWN_MAX, the oldest first. */
  revocations: Type.Array(RevocationSummarySchema),
  /** Others: without effect and of no operator, or one word said many times. */
  revocationsLeftOut: Count,
  /** Keys that signed two records with one number: copied, or lying. With those who proved it. */
  flagged: Type.Array(Type.Object({ ...KeyNameSchema.properties, by: Type.Array(KeyNameSchema) })),
  ledger: Type.Object({
    /** Equal on nodes that hold equal records. */
    hash: Text(64),
    records: Count,
    bytes: Count,
    /** All members know all deletions before it, so those are collected; 0: none was yet. */
    horizon_ms: Count,
    /**
     * The disk of the node that answers may hold what others have deleted: it is an old one, or has lost records. It vouches
     * for nothing until it meets a deployer or an operator whose disk is in no doubt.
     */
    isInDoubt: Type.Boolean(),
    /** Members that have still to acknowledge the deletions that are to be collected next. */
    awaiting: Type.Array(KeyNameSchema),
    kinds: Type.Array(
      Type.Object({ kind: Text(32), records: Count, deleted: Count, bytes: Count, conflicts: Count }),
    ),
  }),
  /** Members that this node is connected to. */
  peers: Count,
  versions: Type.Array(Type.Object({ version: Text(32), members: Count })),
});
export type ClusterInfo = Static<typeof ClusterInfoSchema>;

/** One change, as the node that answers has seen it. */
export const ChangeSchema = Type.Object({
  /** By the clock of its author, and when it came to the node that answers. */
  at_ms: Count,
  seen_ms: Count,
  /** The key that signed it, and the node that it was submitted at. */
  author: Text(64),
  authorName: Text(96),
  kind: Text(32),
  key: Text(512),
  /** The node or key that it is about, if it is about one. */
  subject: OrNull(Text(64)),
  subjectName: OrNull(Text(96)),
  generation: Count,
  revision: Text(64),
  action: OneOf(CHANGE_ACTIONS),
  /** Such as `replicas 2 -> 3`. Never a secret. */
  summary: Text(256),
  /** Other versions of the key that stood beside it then. */
  concurrent: Count,
  /**
   * Does it count, as things are now? Not what its author wrote after it was cut off, nor votes of which there are too
   * few; null: it was replaced, and an earlier version of the daemon has kept too little of it.
   */
  counts: OrNull(Type.Boolean()),
});
export type ChangeInfo = Static<typeof ChangeSchema>;

export const HistoryQuerySchema = Type.Object(
  {
    /** Only changes of this time and later, by the clock of the author or of this node. */
    since_ms: Type.Optional(Count),
    kind: Type.Optional(OneOf(CHANGE_KINDS)),
    /** A key such as `default/web` or its last part, or the name or id of the node that it is about. */
    key: Type.Optional(Given(512)),
    /** Node that it was submitted at, or the key that signed it. */
    by: Type.Optional(NodeText),
    /** The latest so many; default HISTORY_LIMIT. 0: for a follower that wants what is to come. */
    limit: Type.Optional(Type.Integer({ minimum: 0, maximum: HISTORY_LIMIT_MAX })),
  },
  closed,
);
export type HistoryQuery = Static<typeof HistoryQuerySchema>;

const GrantStateSchema = OneOf([...GRANT_STATES]);

export const GrantSchema = Type.Object({
  /** Digest of the record. */
  id: Text(64),
  subject: Text(64),
  subjectName: Text(96),
  issuer: Text(64),
  issuerName: Text(96),
  roles: Type.Array(OneOf(ROLES)),
  /** Roles that the subject may hand on. */
  admits: Type.Array(OneOf(ROLES)),
  /** Grant of the issuer; null: it is an operator. */
  parent: OrNull(Text(64)),
  /** Grant that this one prolongs. */
  renews: OrNull(Text(64)),
  granted_ms: Count,
  expires_ms: OrNull(Count),
  uses: OrNull(Count),
  used: Count,
  state: GrantStateSchema,
});
export type GrantInfo = Static<typeof GrantSchema>;

/** A join token as the cluster knows it. The secret itself is known to nobody but those whom it was given to. */
export const TokenInfoSchema = Type.Object({
  id: Text(64),
  key: Text(64),
  issuer: Text(64),
  issuerName: Text(96),
  /** What hosts that join with it may do. */
  roles: Type.Array(OneOf(ROLES)),
  granted_ms: Count,
  expires_ms: OrNull(Count),
  uses: OrNull(Count),
  used: Count,
  state: GrantStateSchema,
  /** Hosts that joined with it. */
  joined: Type.Array(
    Type.Object({ grant: Text(64), node: Text(64), nodeName: Text(96), state: GrantStateSchema }),
  ),
});
export type TokenInfo = Static<typeof TokenInfoSchema>;

export const ListQuerySchema = Type.Object(
  {
    /** Also what is not in force any more; default false. */
    all: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type ListQuery = Static<typeof ListQuerySchema>;

const Reason = Type.Optional(Text(256));
const KeepFields = {
  /**
   * Nodes that stay although the key let them in; for `descendants` or `since_ms`. Tokens that they joined with let
   * nobody in any more.
   */
  keep: Type.Optional(Type.Array(NodeText, { maxItems: KEEPS_MAX })),
  /** All nodes that it let in and that are members now, or whose grant has ended and may be renewed; default false. */
  keepAll: Type.Optional(Type.Boolean()),
};

/** `digest` of the plan that people have seen: E_PLAN_CHANGED when something else would go now; default: whatever goes. */
const SeenPlan = Type.Optional(Text(64));

export const RevokeTokenRequestSchema = Type.Object(
  {
    reason: Reason,
    /** Also the hosts that joined with it; default false: they stay. */
    hosts: Type.Optional(Type.Boolean()),
    plan: SeenPlan,
    operatorKey: OperatorKey,
  },
  closed,
);
export type RevokeTokenRequest = Static<typeof RevokeTokenRequestSchema>;

export const RevokeNodeRequestSchema = Type.Object(
  {
    reason: Reason,
    /** Nothing that it wrote later counts; default: all that is known of it counts. */
    since_ms: Type.Optional(Count),
    /** Also hosts that it let in, and tokens that it made; default false. */
    descendants: Type.Optional(Type.Boolean()),
    ...KeepFields,
    plan: SeenPlan,
    operatorKey: OperatorKey,
  },
  closed,
);
export type RevokeNodeRequest = Static<typeof RevokeNodeRequestSchema>;

export const RemoveNodeRequestSchema = Type.Object(
  {
    /** Also a node that is not failed. */
    force: Type.Optional(Type.Boolean()),
    operatorKey: OperatorKey,
  },
  closed,
);
export type RemoveNodeRequest = Static<typeof RemoveNodeRequestSchema>;

export const AppointRequestSchema = Type.Object(
  {
    /** Id of the new operator's key. */
    key: Given(64),
    operatorKey: OperatorKey,
  },
  closed,
);
export type AppointRequest = Static<typeof AppointRequestSchema>;

export const RevokeOperatorRequestSchema = Type.Object(
  {
    reason: Reason,
    /** Nothing that it signed later counts; default: all that is known of it counts. */
    since_ms: Type.Optional(Count),
    /** Also what hangs on the grants that it gave; default false. */
    descendants: Type.Optional(Type.Boolean()),
    ...KeepFields,
    plan: SeenPlan,
    operatorKey: OperatorKey,
  },
  closed,
);
export type RevokeOperatorRequest = Static<typeof RevokeOperatorRequestSchema>;
