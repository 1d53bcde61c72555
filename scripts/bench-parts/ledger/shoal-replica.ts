/**
 * Our ledger as a replica: gossip messages as they come off the mesh go into a LedgerMachine, opened, judged, checked
 * and merged. `unsigned` leaves out Ed25519 only, and the two views of bytes that it is handed.
 */
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Crypto, Signed, Signer } from '../../../protocols/base/crypto.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { cluster, env, genesis, introduce, NOW } from '../../../test/protocols/ledger/fixtures.ts';
import { type Grouping, inGroups, type MakeReplica } from './replica.ts';
import { BATCH, type Update } from './trace.ts';

/** Keys of this kind begin with their author, and they are what changes most in a cluster. */
const KIND = 'alloc';
const nodes = cluster(2);
const [author, reader] = nodes.map(({ signer }) => signer) as [Signer, Signer];
const grants = [...nodes[0]!.machine.ledger.records()].filter(({ kind }) => kind === 'grant');

function recordKey(key: string): string {
  return `${author.id}/${key}`;
}

/** A member that knows who is in the cluster, and none of the updates. */
function member(signer: Signer, crypto: Crypto): { machine: LedgerMachine; effects: LedgerEffect[] } {
  const machine = new LedgerMachine({ genesis, crypto, signers: [signer] });
  return { machine, effects: introduce(machine, grants) };
}

/** @returns the gossip messages that a node publishes when it writes these updates. */
export function gossipOf(trace: readonly Update[], grouping: Grouping): Uint8Array[] {
  const { machine, effects } = member(author, nodeCrypto);
  const messages: Uint8Array[] = [];
  const due = new Set<string>();
  let now = NOW;
  const take = (effects: readonly LedgerEffect[]) => {
    for (const effect of effects) {
      if (effect.kind === 'schedule') due.add(effect.token);
      if (effect.kind === 'publish') messages.push(effect.body);
    }
  };
  const flush = () => {
    const tokens = [...due];
    due.clear();
    for (const token of tokens) take(machine.handle({ kind: 'timer', token }, env(now)));
  };
  take(effects);
  flush();
  // The grants: every replica has them before it begins.
  messages.length = 0;
  for (const group of inGroups(trace, grouping === 'one' ? 1 : BATCH)) {
    const writes = group.map(({ key, value }) => ({
      recordKind: KIND,
      key: recordKey(key),
      body: { text: value },
    }));
    now += 1;
    if (grouping === 'seal') {
      take(machine.handle({ kind: 'writes', author: author.id, writes }, env(now)));
    } else {
      for (const write of writes) {
        now += 1;
        take(machine.handle({ kind: 'write', author: author.id, ...write }, env(now)));
      }
    }
    flush();
  }
  return messages;
}

function replicas(messages: readonly Uint8Array[], crypto: Crypto): MakeReplica {
  return () => {
    const { machine } = member(reader, crypto);
    return {
      apply() {
        for (const body of messages) machine.handle({ kind: 'gossip', from: author.id, body }, LATER);
        // As when a peer compares itself: what the ranges sum up to is made when it is asked for.
        if (machine.ledger.hash === '') throw new Error('a ledger without a hash');
      },
      read(key) {
        const body = machine.ledger.get(KIND, recordKey(key))?.body as { text: string } | undefined;
        return body?.text;
      },
    };
  };
}

/** Past every stamp of the trace, or the last ones would come from the future. */
const LATER = env(NOW + 3_600_000);

export function signedReplicas(messages: readonly Uint8Array[]): MakeReplica {
  return replicas(messages, nodeCrypto);
}

export function unsignedReplicas(messages: readonly Uint8Array[]): MakeReplica {
  return replicas(messages, { ...nodeCrypto, verify: () => true });
}

/**
 * The ceiling: the very signatures that `signedReplicas` has to check for these messages, checked by node:crypto with
 * parsed keys, and nothing else done.
 */
export function verifyCeiling(messages: readonly Uint8Array[]): MakeReplica {
  const checks: Signed[] = [];
  const noting: Crypto = {
    ...nodeCrypto,
    verify: ({ author, message, signature }) => {
      checks.push({ author, message: message.slice(), signature: signature.slice() });
      return true;
    },
  };
  const noted = replicas(messages, noting)();
  noted.apply();
  return () => ({
    apply() {
      for (const check of checks) {
        if (!nodeCrypto.verify(check)) throw new Error('a good signature was refused');
      }
    },
    read: (key) => noted.read(key),
  });
}
