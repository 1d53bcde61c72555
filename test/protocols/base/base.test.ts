/** The small things that all else stands on: ids, encoding, hybrid clocks and the table of errors. */
import t from 'tap';
import {
  HLC_AHEAD_MS_MAX,
  HLC_FOLLOWED_MS_MAX,
  hlcCompare,
  hlcNext,
  hlcSeen,
} from '../../../protocols/base/clock.ts';
import { decode, encode } from '../../../protocols/base/codec.ts';
import { ERRORS, EXIT, isShoalError, ShoalError } from '../../../protocols/base/errors.ts';
import {
  fromHex,
  isDigest,
  keyIdFromPublicKey,
  publicKeyFromKeyId,
  shortId,
  toHex,
} from '../../../protocols/base/ids.ts';
import fc from '../../laws.ts';

t.test('an id is its key, both ways, and nothing else is an id', async (t) => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(key, (bytes) => {
      const id = keyIdFromPublicKey(bytes);
      return id.startsWith('12D3KooW') && toHex(publicKeyFromKeyId(id)) === toHex(bytes);
    }),
  );
  const id = keyIdFromPublicKey(new Uint8Array(32).fill(3));
  t.equal(shortId(id), id.slice(-8));
  const bad = [
    '',
    'x',
    id.slice(1),
    `${id}1`,
    id.replace('K', '0'),
    'z'.repeat(10_000),
    'QmYyQSo1c1Ym7orWxLYvCrM2',
  ];
  for (const text of bad)
    t.throws(() => publicKeyFromKeyId(text), { code: 'E_BAD_KEY_ID' }, text.slice(0, 60));
  t.throws(() => keyIdFromPublicKey(new Uint8Array(31)), RangeError);
  fc.assert(fc.property(fc.uint8Array(), (bytes) => toHex(fromHex(toHex(bytes))) === toHex(bytes)));
  t.ok(isDigest(`sha256:${'ab'.repeat(32)}`));
  for (const text of [
    'sha256:ab',
    `sha256:${'AB'.repeat(32)}`,
    `sha512:${'ab'.repeat(32)}`,
    `sha256:${'ab'.repeat(32)}\n`,
  ]) {
    t.notOk(isDigest(text), text);
  }
});

t.test('what is encoded is decoded, and the bytes do not depend on what came before', async (t) => {
  const data = fc
    .jsonValue({ maxDepth: 3 })
    .filter((value) => !JSON.stringify(value).includes('"__proto__":'));
  fc.assert(
    fc.property(data, fc.jsonValue({ maxDepth: 2 }), (value, between) => {
      const bytes = encode(value);
      encode(between);
      const again = encode(value);
      return toHex(bytes) === toHex(again) && toHex(encode(decode(bytes, 1 << 20))) === toHex(bytes);
    }),
  );
  const forged = decode(encode(JSON.parse('{"__proto__":{"isAdmin":true}}')), 100) as object;
  t.equal(Object.getPrototypeOf(forged), Object.prototype, 'no bytes make a prototype');
  t.notOk('isAdmin' in forged);
});

t.test('what is too large or no MessagePack is refused by code, whatever the bytes', async (t) => {
  t.throws(() => decode(encode('x'.repeat(100)), 100), { code: 'E_TOO_LARGE' });
  t.equal(decode(encode('x'.repeat(98)), 100), 'x'.repeat(98));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decode(bytes, 1000);
        return true;
      } catch (error) {
        return isShoalError(error, 'E_MALFORMED');
      }
    }),
  );
  // Lengths that promise far more than there is.
  for (const hex of ['dfffffffff', 'ddffffffff', 'c6ffffffff00', 'dbffffffff41']) {
    t.throws(() => decode(fromHex(hex), 1000), { code: 'E_MALFORMED' }, hex);
  }
});

t.test('a hybrid clock never goes back, and follows nobody far ahead', async (t) => {
  const stamp = fc.record({ ms: fc.nat(1_000_000), n: fc.nat(0xffff) });
  fc.assert(fc.property(stamp, fc.nat(1_000_000), (last, now) => hlcCompare(hlcNext(last, now), last) > 0));
  fc.assert(
    fc.property(stamp, stamp, fc.nat(1_000_000), (last, seen, now) => {
      const after = hlcSeen(last, seen, now);
      if (hlcCompare(after, last) < 0) return false;
      const ahead_ms = seen.ms - now;
      if (ahead_ms > HLC_AHEAD_MS_MAX) return after === last;
      if (ahead_ms > HLC_FOLLOWED_MS_MAX) return after.ms === Math.max(last.ms, now + HLC_FOLLOWED_MS_MAX);
      return hlcCompare(after, seen) >= 0;
    }),
  );
  t.same(hlcNext({ ms: 5, n: 0xffff }, 5), { ms: 6, n: 0 }, 'a full counter moves on');
});

t.test('every error has an exit code, a status and one sentence of advice', async (t) => {
  const exits = new Set<number>(Object.values(EXIT));
  for (const [code, { exit, http, next }] of Object.entries(ERRORS)) {
    t.match(code, /^E_[A-Z][A-Z_]+$/);
    t.ok(exits.has(exit) && exit !== 0, code);
    t.ok(http >= 400 && http < 600, code);
    t.match(next, /^[A-Z][^\n]*\.$/, code);
  }
  const error = new ShoalError('E_NOT_FOUND', 'no such thing', { cause: 1, detail: { field: 'name' } });
  t.match(error, { name: 'ShoalError', exit: 4, http: 404, cause: 1, detail: { field: 'name' } });
  t.equal(String(error), 'E_NOT_FOUND: no such thing', 'as logs have it');
  t.ok(isShoalError(error, 'E_NOT_FOUND'));
  t.notOk(isShoalError(error, 'E_BUSY'));
  t.notOk(isShoalError(new Error('E_NOT_FOUND')));
  t.notOk('cause' in new ShoalError('E_BUSY', 'x'));
});
