import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { decode, encode } from '../../../protocols/base/codec.ts';
import type { Crypto } from '../../../protocols/base/crypto.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { isSameRecord, openRecord, RECORD_BYTES_MAX } from '../../../protocols/ledger/record.ts';
import { encodeGossip } from '../../../protocols/ledger/sync.ts';
import { cluster, env, genesis, introduce, NOW, write } from './fixtures.ts';

const [writer, other] = cluster(2).map(({ signer, machine }) => ({ id: signer.id, signer, machine }));
const grants = [...writer!.machine.ledger.records()].filter(({ kind }) => kind === 'grant');
const tags = Array.from({ length: 10 }, (_, at) =>
  write(writer!.machine, writer!.id, 'tag', 'one', { digest: `${at}` }, NOW + at),
);

function reader() {
  const counts = { hashes: 0 };
  const sha256Text = (bytes: Uint8Array) => {
    counts.hashes += 1;
    return nodeCrypto.sha256Text(bytes);
  };
  const crypto: Crypto = { ...nodeCrypto, sha256Text };
  const machine = new LedgerMachine({ genesis, crypto, signers: [other!.signer] });
  introduce(machine, grants);
  const hear = (bytes: Uint8Array, now: number) =>
    machine.handle({ kind: 'gossip', from: writer!.id, body: encodeGossip([bytes]) }, env(now));
  counts.hashes = 0;
  return { machine, counts, hear };
}

/** The same payload with another signature around it. */
function resigned(bytes: Uint8Array): Uint8Array {
  const [payload] = decode(bytes, RECORD_BYTES_MAX) as [Uint8Array];
  return encode([payload, new Uint8Array(64)]);
}

t.test('a record that is replaced before anyone asks for its name is never hashed', async (t) => {
  const { machine, counts, hear } = reader();
  for (const { bytes } of tags) hear(bytes, NOW + 100);
  t.equal(counts.hashes, 0);
  t.equal(machine.ledger.get('tag', 'one')?.digest, tags.at(-1)!.digest);
  t.equal(counts.hashes, 1);
});

t.test('a record that comes again is known by its payload, whatever signature is around it', async (t) => {
  const { counts, hear } = reader();
  const { bytes } = tags[0]!;
  const kinds = (effects: readonly { kind: string }[]) => effects.map(({ kind }) => kind);
  t.ok(kinds(hear(bytes, NOW)).includes('changed'));
  t.strictSame(kinds(hear(bytes.slice(), NOW)), ['known']);
  t.strictSame(kinds(hear(resigned(bytes), NOW)), ['known']);
  t.equal(counts.hashes, 0);
});

t.test('two records are the same when their names are', async (t) => {
  const opened = tags.map(({ bytes }) => openRecord(bytes.slice(), nodeCrypto));
  for (const [at, a] of opened.entries()) {
    for (const [beside, b] of opened.entries()) t.equal(isSameRecord(a, b), at === beside);
    t.ok(isSameRecord(a, openRecord(resigned(a.bytes), nodeCrypto)));
    t.ok(
      isSameRecord({ ...tags[at]!, digest: a.digest }, a),
      'by name, when one of them has no payload here',
    );
  }
});
