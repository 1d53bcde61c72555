/**
 * A client on one of the demo's hosts, as a process: it asks that host's DNS server and talks to the service, as any
 * program there would. It is told what to do by lines of JSON on stdin, and answers by lines on stdout; client.ts is
 * the other side. It ends with its stdin.
 */
import { Resolver } from 'node:dns/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ask, LoadResult, Protocol } from './client.ts';

/** One attempt, at DNS or at one replica. */
const ATTEMPT_MS_MAX = 400;
/** A request that has no answer by then has failed. */
const REQUEST_MS_MAX = 3000;
const LOAD_PAUSE_MS = 40;

function resolverOf(server: string): Resolver {
  const resolver = new Resolver({ timeout: ATTEMPT_MS_MAX, tries: 2 });
  resolver.setServers([server]);
  return resolver;
}

/** @returns what the replica said. */
function askReplica(protocol: Protocol, address: string, port: number): Promise<string> {
  return protocol === 'http' ? askHttp(address, port) : askRedis(address, port);
}

function askHttp(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ATTEMPT_MS_MAX);
    const asked = request({ host, port, path: '/', agent: false, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200 ? resolve(text.trim()) : reject(new Error(`HTTP ${response.statusCode}`)),
      );
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** Source: Redis serialization protocol, inline commands. */
function askRedis(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal: AbortSignal.timeout(ATTEMPT_MS_MAX) });
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write('PING\r\n'));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed without an answer')));
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.includes('\r\n')) return;
      if (text.startsWith('+PONG')) resolve('PONG');
      else reject(new Error(text.trim().slice(0, 100)));
      socket.destroy();
    });
  });
}

type LoadAsk = Extract<Ask, { op: 'load' }>;

let load: { stop: boolean; readonly ended: Promise<LoadResult> } | undefined;

/** As clients do: ask DNS, take an answer, and when it does not serve, the next one; then ask again. */
async function oneRequest(ask: LoadAsk, resolver: Resolver, result: LoadResult): Promise<void> {
  const start = performance.now();
  result.requests += 1;
  let why = 'no answer';
  while (performance.now() - start < REQUEST_MS_MAX) {
    try {
      for (const address of await resolver.resolve4(ask.name)) {
        try {
          await askReplica(ask.protocol, address, ask.port);
          result.slowest_ms = Math.max(result.slowest_ms, performance.now() - start);
          return;
        } catch (error) {
          result.retries += 1;
          why = `${address}: ${(error as Error).message}`;
        }
      }
    } catch (error) {
      result.retries += 1;
      why = `DNS: ${(error as Error).message}`;
    }
    await sleep(LOAD_PAUSE_MS);
  }
  result.failures += 1;
  result.lastFailure = why;
}

function startLoad(ask: LoadAsk): void {
  const state = { stop: false, ended: Promise.resolve(undefined as unknown as LoadResult) };
  const run = async (): Promise<LoadResult> => {
    const result: LoadResult = { requests: 0, failures: 0, retries: 0, slowest_ms: 0, lastFailure: null };
    const resolver = resolverOf(ask.server);
    while (!state.stop) {
      await oneRequest(ask, resolver, result);
      await sleep(LOAD_PAUSE_MS);
    }
    return result;
  };
  load = Object.assign(state, { ended: run() });
}

async function carryOut(ask: Ask): Promise<unknown> {
  switch (ask.op) {
    case 'resolve':
      return await resolverOf(ask.server).resolve4(ask.name);
    case 'request':
      return await askReplica(ask.protocol, ask.address, ask.port);
    case 'load':
      return startLoad(ask);
    case 'endLoad':
      if (!load) throw new Error('no load');
      load.stop = true;
      return await load.ended;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, ask } = JSON.parse(line) as { id: number; ask: Ask };
  carryOut(ask).then(
    (value) => process.stdout.write(`${JSON.stringify({ id, value: value ?? null })}\n`),
    (error: NodeJS.ErrnoException) =>
      process.stdout.write(`${JSON.stringify({ id, error: error.code ?? error.message })}\n`),
  );
}
process.exit(0);
