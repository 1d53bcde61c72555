/** Small programs that test hosts run to see who reaches whom: no ping, which not every machine has. */
import { once } from 'node:events';
import type { TestHosts } from './harness.ts';

/** Connects to argv[1]:argv[2], again and again until argv[3] milliseconds are over; prints what the peer says. */
const CONNECT = `
  const { connect } = require('node:net');
  const [address, port, wait_ms] = process.argv.slice(1);
  const until = Date.now() + Number(wait_ms);
  const attempt = () => {
    const socket = connect({ host: address, port: Number(port), timeout: 400 });
    const again = () => { socket.destroy(); if (Date.now() > until) process.exit(1); setTimeout(attempt, 50); };
    socket.once('timeout', again).once('error', again);
    socket.once('data', (data) => { process.stdout.write(data); process.exit(0); });
  };
  attempt();
`;

/** Says argv[2] to whoever connects to argv[1], port 7000; prints "ready" when it listens. */
const GREETER = `
  const [address, text] = process.argv.slice(1);
  require('node:net').createServer((socket) => { socket.on('error', () => {}); socket.end(text); })
    .listen(7000, address, () => console.log('ready'));
`;

/** Counts datagrams on argv[1]:7001 until one says "end", or 5 s are over. */
const COUNTER = `
  const socket = require('node:dgram').createSocket('udp4');
  let count = 0;
  const finish = () => { console.log('count ' + count); process.exit(0); };
  setTimeout(finish, 5000);
  process.stdin.on('data', finish);
  socket.on('message', () => { count += 1; });
  socket.bind(7001, process.argv[1], () => console.log('ready'));
`;

const SENDER = `
  const socket = require('node:dgram').createSocket('udp4');
  const [address, total] = process.argv.slice(1);
  let sent = 0;
  const next = () => {
    if (sent++ === Number(total)) { setTimeout(() => process.exit(0), 100); return; }
    socket.send('x', 7001, address, () => setTimeout(next, sent % 20 === 0 ? 1 : 0));
  };
  next();
`;

export const GREETER_PORT = 7000;

/** The argument vector of a server that says `text` on port 7000. */
export function greeterArgv(address: string, text: string): string[] {
  return [process.execPath, '-e', GREETER, address, text];
}

/** The argument vector of a client that prints what the server says, and fails after `wait_ms`. */
export function connectArgv(address: string, port: number, wait_ms: number): string[] {
  return [process.execPath, '-e', CONNECT, address, String(port), String(wait_ms)];
}

/** Whether a TCP connection from one host to the other brings data within `wait_ms`. */
export async function reaches(hosts: TestHosts, from: number, to: number, wait_ms = 600): Promise<boolean> {
  const server = hosts.spawn(to, greeterArgv(hosts.address(to), 'hello'));
  try {
    await once(server.stdout!, 'data');
    const { stdout } = await hosts.exec(from, connectArgv(hosts.address(to), GREETER_PORT, wait_ms));
    return stdout === 'hello';
  } finally {
    server.kill('SIGKILL');
    await once(server, 'close');
  }
}

/** How many of `total` datagrams from one host arrive at the other. */
export async function datagramsThrough(
  hosts: TestHosts,
  from: number,
  to: number,
  total: number,
): Promise<number> {
  const counter = hosts.spawn(to, [process.execPath, '-e', COUNTER, hosts.address(to)]);
  let output = '';
  counter.stdout!.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  await once(counter.stdout!, 'data');
  await hosts.exec(from, [process.execPath, '-e', SENDER, hosts.address(to), String(total)]);
  const closed = once(counter, 'close');
  counter.stdin!.write('end');
  await closed;
  return Number(/count (\d+)/.exec(output)?.[1]);
}
