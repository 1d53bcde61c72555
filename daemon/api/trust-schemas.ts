/**
 * The data of the API about trust and history: the cluster as a whole, grants, tokens, revocations and changes.
 * The rest is in schemas.ts; the rules of both are the same.
 */
import Type, { type Static } from 'typebox';
import { ROLES } from '../../protocols/base/records.ts';
import { CHANGE_ACTIONS } from '../../protocols/view/change.ts';
import { Count, closed, Given, NodeText, OneOf, OrNull, Text } from './schema-parts.ts';

/** Lines that one answer holds. */
export const HISTORY_LIMIT_MAX = 10_000;
export const HISTORY_LIMIT = 50;

/** A key, and who that is: the name of a node, or what else the key is for. */
const KeyNameSchema = Type.Object({ key: Text(64), name: Text(96) });

export const ClusterInfoSchema = Type.Object({
  id: Text(64),
  name: Text(63),
  created_ms: Count,
  /** Of container subnets. */
  range: Text(43),
  /** Keys that may do everything, the most senior first; so many of them must agree about one of themselves. */
  operators: Type.Array(Type.Object({ ...KeyNameSchema.properties, revoked: Type.Boolean() })),
  threshold: Count,
  members: Type.Object({ alive: Count, suspect: Count, failed: Count }),
  /** Members by what they may do. */
  roles: Type.Array(Type.Object({ role: OneOf(ROLES), members: Count })),
  /** Keys that are refused, and who refused them. */
  revoked: Type.Array(Type.Object({ ...KeyNameSchema.properties, by: KeyNameSchema, reason: Text(256) })),
  /** Keys that signed two records with one number: copied, or lying. With those who proved it. */
  flagged: Type.Array(Type.Object({ ...KeyNameSchema.properties, by: Type.Array(KeyNameSchema) })),
  ledger: Type.Object({
    /** Equal on nodes that hold equal records. */
    hash: Text(64),
    records: Count,
    bytes: Count,
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
});
export type ChangeInfo = Static<typeof ChangeSchema>;

export const HistoryQuerySchema = Type.Object(
  {
    /** Only changes of this time and later. */
    since_ms: Type.Optional(Count),
    kind: Type.Optional(Given(32)),
    /** A key such as `default/web` or its last part, or the name or id of the node that it is about. */
    key: Type.Optional(Given(512)),
    /** Node that it was submitted at, or the key that signed it. */
    by: Type.Optional(NodeText),
    /** The latest so many; default HISTORY_LIMIT. */
    limit: Type.Optional(Type.Integer({ minimum: 0, maximum: HISTORY_LIMIT_MAX })),
  },
  closed,
);
export type HistoryQuery = Static<typeof HistoryQuerySchema>;
