/** Which hosts have the uses of tokens. */
import t from 'tap';
import { type Claim, type Link, TokenUses } from '../../../daemon/trust/token-uses.ts';

const HOSTS = 8_000;

function link(digest: string, subject: string, uses: number | null = null): Link {
  const gift = { parent: null, renews: null, roles: ['member'] as const, admits: [] };
  const times = { granted_ms: 0, notAfter_ms: null };
  return { digest, subject, issuer: 'eve', ...gift, ...times, uses, state: 'valid' };
}

t.test('each host has a use though thousands have to make room for the last one', (t) => {
  const tokens = Array.from({ length: HOSTS }, (_, at) => link(`token ${at}`, `key ${at}`, 1));
  const claimsOf = (host: string, ...of: readonly number[]): Claim[] =>
    of.map((at) => ({ use: link(`${host} ${at}`, host), token: tokens[at]!, until_ms: 1 }));
  const hosts = Array.from({ length: HOSTS - 1 }, (_, at) => claimsOf(`host ${at}`, at, at + 1));
  hosts.push(claimsOf('last', 0));
  const taken = new TokenUses();
  taken.fill(hosts);
  t.ok(hosts.every((claims) => claims.some((claim) => taken.has(claim))));
  t.end();
});
