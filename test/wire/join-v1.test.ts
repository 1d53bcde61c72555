/** Golden text and bytes of joining, version 1: token, knock and welcome. A new version is a new file. */
import t from 'tap';
import { encodeAppeal, encodeKnock, encodeWelcome } from '../../daemon/admission.ts';
import { toHex } from '../../protocols/base/ids.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { formatToken, type JoinToken, parseToken } from '../../protocols/trust/token.ts';

const NODE = '12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7';

const TOKEN: JoinToken = {
  cluster: 'ab'.repeat(32),
  seed: new Uint8Array(32).fill(7),
  grant: 'cd'.repeat(32),
  notAfter_ms: 1_767_225_600_000,
  roles: ['member', 'worker', 'deployer'],
  doors: [`/ip4/192.0.2.1/tcp/4748/p2p/${NODE}`],
};
const TEXT =
  'shoal1.lsQgq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6vEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHxCDNzc3Nzc3N' +
  'zc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3NzctCebdtqoAAAJOmbWVtYmVypndvcmtlcqhkZXBsb3llcpHZUC9pcDQvMTkyLjAuMi4xL3RjcC80NzQ4' +
  'L3AycC8xMkQzS29vV1Jhd1BieFB0UDFlWmFKcHVtR255V1gyRGNVeWQzUlFueWRyM2VBdG80QXo3';

/** Only their bytes travel. */
function bytesOnly(...bytes: number[]): LedgerRecord {
  return { bytes: Uint8Array.from(bytes) } as LedgerRecord;
}

t.test('a token is written as it always was, and read', async (t) => {
  t.equal(formatToken(TOKEN), TEXT);
  const read = parseToken(TEXT);
  t.same({ ...read, seed: Uint8Array.from(read.seed) }, TOKEN);
});

t.test('a token that lets hosts in for a time says so at its end', async (t) => {
  const timed = formatToken({ ...TOKEN, life_ms: 86_400_000 });
  const bytes = (text: string) => Buffer.from(text.slice('shoal1.'.length), 'base64url');
  t.equal(bytes(timed)[0], 0x97);
  t.same(
    bytes(timed).subarray(1),
    Buffer.concat([bytes(TEXT).subarray(1), Buffer.from('ce05265c00', 'hex')]),
  );
  t.equal(parseToken(timed).life_ms, 86_400_000);
});

t.test('a knock is written as it always was', async (t) => {
  t.equal(toHex(encodeKnock(bytesOnly(1, 2, 3))), '9201c403010203');
});

t.test('an appeal is a knock with nothing in its hands, or with acts', async (t) => {
  t.equal(toHex(encodeAppeal([])), '9201c0');
  t.equal(toHex(encodeAppeal([bytesOnly(1, 2, 3), bytesOnly(4)])), '9301c092c403010203c40104');
  t.equal(toHex(encodeAppeal([], bytesOnly(4))), '9401c090c40104', 'or with the grant of who knocks');
});

t.test('a welcome is written as it always was', async (t) => {
  const welcome = {
    genesis: bytesOnly(1),
    grants: [bytesOnly(2)],
    members: [{ id: NODE, addresses: ['/ip4/192.0.2.1/tcp/4747'] }],
  };
  t.equal(
    toHex(encodeWelcome(welcome)),
    `9401c4010191c401029192d934${Buffer.from(NODE).toString('hex')}91b7${Buffer.from('/ip4/192.0.2.1/tcp/4747').toString('hex')}`,
  );
});
