/** What a fake backend answers about its cluster, its keys and its history. */
import type {
  ChangeInfo,
  ClusterInfo,
  GrantInfo,
  RevocationInfo,
  RevocationPlan,
  TokenInfo,
} from '../../../daemon/api/trust-schemas.ts';

export const NODE_1 = '12D3KooWNodeOneNodeOneNodeOneNodeOneNodeOneNodeOne1111';
export const NODE_2 = '12D3KooWNodeTwoNodeTwoNodeTwoNodeTwoNodeTwoNodeTwo2222';
const OPERATOR = '12D3KooWOperatorOperatorOperatorOperatorOperatorOp9999';
export const AT_MS = 1_700_000_000_000;

export const REVOCATION: RevocationInfo = {
  id: '7'.repeat(64),
  key: 'gone',
  name: 'old',
  by: { key: OPERATOR, name: 'operator Op9999' },
  reason: 'stolen\x1b[2J',
  written_ms: AT_MS,
  epoch: 0,
  last: 9,
  descendants: false,
  keeps: [],
  votes: 1,
  needed: 1,
  effective: true,
  untilRenewed: [],
  staying: [],
};

/** What ends by a plan, where nothing returns. */
export function turnOf<T>(...ends: T[]) {
  return { ends_count: ends.length, returns_count: 0, ends, returns: [] as T[] };
}

/** Nothing but the key that was named goes. */
export const PLAN: RevocationPlan = {
  digest: 'd'.repeat(64),
  key: 'gone',
  name: 'old',
  by: { key: OPERATOR, name: 'operator Op9999' },
  epoch: 0,
  last: 9,
  early_count: 0,
  descendants: false,
  keeps: [],
  votes: 1,
  needed: 1,
  effective: true,
  lacking: [],
  sentAway_count: 0,
  sentAway: [],
  unnamed: [],
  namesakes: [],
  nodes: turnOf({ key: 'gone', name: 'old' }),
  untilRenewed_count: 0,
  untilRenewed: [],
  staying_count: 0,
  staying: [],
  roles_count: 0,
  roles: [],
  operators: turnOf(),
  tokens: turnOf(),
  records: turnOf(),
  leavesTooFew: false,
  open_count: 0,
  open: [],
};

/** Of a first vote of two. */
export const VOTE_PLAN: RevocationPlan = {
  ...PLAN,
  needed: 2,
  effective: false,
  nodes: turnOf(),
};

/** Of a token: its key is no host's. */
export const TOKEN_PLAN: RevocationPlan = { ...PLAN, nodes: turnOf() };

/** With others, and with what they wrote. */
export const WIDE_PLAN: RevocationPlan = {
  ...PLAN,
  nodes: {
    ends_count: 2,
    returns_count: 1,
    ends: [...PLAN.nodes.ends, { key: NODE_2, name: 'two' }],
    returns: [{ key: NODE_1, name: 'one' }],
  },
  records: {
    ...PLAN.records,
    ends: [{ kind: 'workload', key: 'default/web', author: NODE_2, authorName: 'two' }],
    ends_count: 14,
  },
  open_count: 1,
  open: [{ id: '9'.repeat(64), key: 'key', issuer: 'gone', issuerName: 'old', host: null }],
};

export const TOKEN: TokenInfo = {
  id: '4f5c0e91a2b3'.padEnd(64, '0'),
  key: '12D3KooWToken',
  issuer: NODE_1,
  issuerName: 'one',
  roles: ['member', 'worker'],
  granted_ms: AT_MS,
  expires_ms: AT_MS + 900_000,
  uses: 2,
  used: 1,
  state: 'valid',
  joined: [{ grant: '8'.repeat(64), node: NODE_2, nodeName: 'two', state: 'valid' }],
};

export const GRANT: GrantInfo = {
  id: '8'.repeat(64),
  subject: NODE_2,
  subjectName: 'two',
  issuer: TOKEN.key,
  issuerName: 'token 4f5c0e91a2b3',
  roles: ['member', 'worker'],
  admits: [],
  parent: TOKEN.id,
  renews: null,
  granted_ms: AT_MS,
  expires_ms: null,
  uses: null,
  used: 0,
  state: 'valid',
};

export const CLUSTER_INFO: ClusterInfo = {
  id: 'f'.repeat(64),
  name: 'shop',
  created_ms: AT_MS,
  range: '10.210.0.0/16',
  operators: [{ key: OPERATOR, name: 'operator Op9999', genesis: true, revoked: false }],
  threshold: 1,
  members: { alive: 2, suspect: 0, failed: 0 },
  roles: [{ role: 'member', members: 2 }],
  revocations: [{ ...REVOCATION, keeps_count: 0 }],
  revocationsLeftOut: 3,
  flagged: [{ key: NODE_2, name: 'two', by: [{ key: NODE_1, name: 'one' }] }],
  ledger: {
    hash: 'e'.repeat(64),
    records: 3,
    bytes: 2048,
    horizon_ms: AT_MS,
    isInDoubt: true,
    awaiting: [],
    kinds: [{ kind: 'member', records: 3, deleted: 1, bytes: 2048, conflicts: 0 }],
  },
  peers: 1,
  versions: [{ version: '0.1.0', members: 2 }],
};

const change: ChangeInfo = {
  at_ms: AT_MS,
  seen_ms: AT_MS + 5,
  author: NODE_1,
  authorName: 'one',
  kind: 'workload',
  key: 'default/web',
  subject: null,
  subjectName: null,
  generation: 2,
  revision: 'd'.repeat(64),
  action: 'updated',
  summary: 'replicas 2 -> 3',
  concurrent: 1,
  counts: true,
};

export const CHANGES: ChangeInfo[] = [
  change,
  {
    ...change,
    kind: 'intent',
    key: NODE_2,
    subject: NODE_2,
    subjectName: 'two',
    summary: 'active -> draining',
    concurrent: 0,
  },
  { ...change, kind: 'image', key: `${NODE_1}/sha256:${'b'.repeat(64)}`, concurrent: 0, counts: null },
  { ...change, at_ms: AT_MS - 86_400_000, key: 'default/old', concurrent: 0, counts: false },
  {
    ...change,
    kind: 'revoke',
    key: `${NODE_2}/x`,
    subject: NODE_2,
    subjectName: 'two',
    summary: 'stolen',
    concurrent: 0,
    counts: false,
  },
];
