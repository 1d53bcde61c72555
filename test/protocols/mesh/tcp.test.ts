/** Dials to an address that answers late, never, or with a refusal. A transport under the test's hand stands in for TCP. */

import { mock } from 'node:test';
import type { Connection, DialTransportOptions, MultiaddrConnection, Upgrader } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import t from 'tap';
import { FRESH_MS, FreshDial } from '../../../protocols/mesh/tcp.ts';

interface Socket {
  readonly options: DialTransportOptions;
  isEnded: boolean;
  connect(): void;
  fail(error: Error): void;
}

function begin(reach_ms = 5000) {
  const sockets: Socket[] = [];
  const connection = {} as Connection;
  const begun = { sockets, connection, upgrade: async () => connection };
  const given = {
    signal: new AbortController().signal,
    upgrader: { upgradeOutbound: () => begun.upgrade() } as unknown as Upgrader,
  } as DialTransportOptions;
  const dial = (_: unknown, options: DialTransportOptions) =>
    new Promise<Connection>((resolve, reject) => {
      const socket: Socket = {
        options,
        isEnded: false,
        connect: () =>
          options.upgrader.upgradeOutbound({} as MultiaddrConnection, options).then(resolve, reject),
        fail: reject,
      };
      options.signal?.addEventListener('abort', () => {
        socket.isEnded = true;
        reject(new Error('ended'));
      });
      sockets.push(socket);
    });
  const outcome = new FreshDial(dial, multiaddr('/ip4/192.0.2.1/tcp/1'), given).run(reach_ms);
  outcome.catch(() => undefined);
  return Object.assign(begun, { outcome });
}

t.beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
t.afterEach(() => mock.timers.reset());

t.test('while nothing answers the first request stays, with a fresh one beside it', async (t) => {
  const { sockets, outcome, connection } = begin();
  for (let at = 0; at < 3; at += 1) mock.timers.tick(FRESH_MS);
  t.same(
    sockets.map(({ isEnded }) => isEnded),
    [false, true, true, false],
  );
  sockets[3]!.connect();
  t.equal(await outcome, connection);
  t.ok(sockets[0]!.isEnded, 'the others end');
  t.notOk(sockets[3]!.isEnded);
  mock.timers.tick(FRESH_MS * 3);
  t.equal(sockets.length, 4);
});

t.test('the first request may be answered late, and one connection is made', async (t) => {
  const { sockets, outcome, connection } = begin();
  mock.timers.tick(FRESH_MS);
  sockets[0]!.connect();
  sockets[1]!.connect();
  t.equal(await outcome, connection);
  t.same(
    sockets.map(({ isEnded }) => isEnded),
    [false, true],
  );
});

t.test('a refusal ends the dial at once', async (t) => {
  const { sockets, outcome } = begin();
  mock.timers.tick(FRESH_MS);
  sockets[1]!.fail(new Error('refused'));
  await t.rejects(outcome, { message: 'refused' });
  t.ok(sockets[0]!.isEnded);
});

t.test('an address that does not answer is given up in time, and a handshake has its own', async (t) => {
  const silent = begin(2000);
  mock.timers.tick(2000);
  await t.rejects(silent.outcome, { message: /no answer in 2000 ms/ });
  t.ok(silent.sockets.every(({ isEnded }) => isEnded));

  const slow = begin(2000);
  const shaken = Promise.withResolvers<Connection>();
  slow.upgrade = () => shaken.promise;
  slow.sockets[0]!.connect();
  mock.timers.tick(10_000);
  shaken.resolve(slow.connection);
  t.equal(await slow.outcome, slow.connection);
});
