/** Instances from claim to end: what is told to the ledger, what runs, and what is left. On a clock that runs fast. */
import t, { type Test } from 'tap';
import type { Clock } from '../../../daemon/clock.ts';
import { RESTARTS_MAX } from '../../../daemon/instances/instance.ts';
import { InstanceManager } from '../../../daemon/instances/instance-manager.ts';
import { silentLog } from '../../../daemon/log.ts';
import { createHostNetwork } from '../../../daemon/network/host-network.ts';
import { createMemoryRuntime, MemoryHost } from '../../../daemon/runtime/memory-runtime.ts';
import type { Runtime } from '../../../daemon/runtime/runtime.ts';
import type { Images, ReadyImage } from '../../../images/images.ts';
import type { Digest } from '../../../protocols/base/ids.ts';
import type { AllocationBody, ImageBody, Phase } from '../../../protocols/base/records.ts';
import { SPEC_DEFAULTS, type WorkloadSpec } from '../../../protocols/base/workload.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { eventually } from '../node/eventually.ts';

const SPEED = 50;
const SLOT = 'default/web/0';
const DIGEST: Digest = `sha256:${'ab'.repeat(32)}`;

const began = Date.now();
const fastClock: Clock = {
  now: () => began + (Date.now() - began) * SPEED,
  random: () => 0.5,
  after(delay_ms, action) {
    const timer = setTimeout(action, delay_ms / SPEED);
    return () => clearTimeout(timer);
  },
};

interface Stage {
  readonly manager: InstanceManager;
  readonly runtime: Runtime;
  readonly told: AllocationBody[];
  last(): AllocationBody | undefined;
  /** Once the latest record is of this phase. */
  until(phase: Phase): Promise<AllocationBody>;
}

async function stage(
  t: Test,
  given: {
    host?: MemoryHost;
    ensure?: Images['ensure'];
    knownImage?: boolean;
    refusesNetwork?: (container: string) => boolean;
    /** Of the host. */
    address?: string;
  } = {},
): Promise<Stage> {
  const { host = new MemoryHost(), knownImage = true } = given;
  const runtime = Object.assign(createMemoryRuntime({ time: fastClock, host }), { isolatesNetwork: false });
  const told: AllocationBody[] = [];
  const ready: ReadyImage = {
    digest: DIGEST,
    config: {
      entrypoint: [],
      command: ['run-forever'],
      env: [],
      workingDir: '',
      user: '',
      exposedPorts: [],
      stopSignal: '',
    },
    lowerDirs: [],
  };
  const images = { ensure: given.ensure ?? (async () => ready), has: async () => true } as unknown as Images;
  const network = createHostNetwork({ host: given.address ?? '127.0.0.1' });
  const attach = network.attach.bind(network);
  network.attach = async (container) => {
    if (given.refusesNetwork?.(container)) throw new Error('no network');
    return attach(container);
  };
  const manager = new InstanceManager({
    runtime,
    network,
    images,
    clock: fastClock,
    log: silentLog,
    nodeName: 'here',
    directory: await temporaryDirectory(t),
    findImage: () => (knownImage ? { digest: DIGEST, body: {} as ImageBody } : undefined),
    hasSource: () => true,
    record: async (_slot, body) => void told.push(body),
  });
  t.teardown(async () => {
    await manager[Symbol.asyncDispose]();
    await runtime[Symbol.asyncDispose]();
  });
  const last = () => told.at(-1);
  const until = (phase: Phase) =>
    eventually(`it is ${phase}`, () => (last()?.phase === phase ? last() : undefined));
  return { manager, runtime, told, last, until };
}

function specOf(changes: Partial<WorkloadSpec> = {}): WorkloadSpec {
  return { ...SPEC_DEFAULTS, name: 'web', image: 'web:1', stop_grace_ms: 100, ...changes };
}

function bodyOf(changes: Partial<AllocationBody> = {}): AllocationBody {
  return {
    node: 'here',
    namespace: 'default',
    workload: 'web',
    index: 0,
    generation: 1,
    revision: 'cd'.repeat(32),
    attempt: 1,
    phase: 'claimed',
    health: 'unknown',
    address: null,
    ports: {},
    resources: SPEC_DEFAULTS.resources,
    since_ms: fastClock.now(),
    until_ms: null,
    reason: null,
    exitCode: null,
    restarts: 0,
    ...changes,
  };
}

t.test('a claim is told step by step until it runs, a release until it is gone', async (t) => {
  const { manager, runtime, told, last, until } = await stage(t);
  const spec = specOf({ ports: [{ name: 'http', port: 1 }] });
  manager.claim({ slot: SLOT, spec, body: bodyOf() });
  const up = await until('running');
  await eventually('it is healthy', () => last()?.health === 'healthy');
  t.match(up, { address: '127.0.0.1', attempt: 1, reason: null });
  t.ok(up.ports.http! > 0);
  t.same(manager.get(SLOT)?.spec, spec);
  t.match(await runtime.list(), [{ state: 'running', labels: { 'shoal.slot': SLOT, 'shoal.attempt': '1' } }]);
  manager.release(SLOT, 'scaled down');
  manager.release(SLOT, 'twice is once');
  const over = await until('stopped');
  t.equal(over.reason, 'scaled down');
  t.same(
    [...new Set(told.map(({ phase }) => phase))],
    ['pulling', 'starting', 'running', 'stopping', 'stopped'],
  );
  await eventually('the container is taken away', async () => (await runtime.list()).length === 0);
  await eventually('the slot is free', () => manager.get(SLOT) === undefined);
});

t.test('what keeps ending is started again, later each time, and then given up', async (t) => {
  const { manager, runtime, told, until } = await stage(t);
  manager.claim({ slot: SLOT, spec: specOf({ command: ['exit', '7'] }), body: bodyOf() });
  const over = await until('failed');
  t.match(over, { exitCode: 7, restarts: RESTARTS_MAX, attempt: 1 + RESTARTS_MAX });
  t.match(over.reason, /given up after 5 restarts: it exited with 7/);
  const starts = told.filter(({ phase }) => phase === 'running').map(({ attempt }) => attempt);
  t.same(starts, [1, 2, 3, 4, 5, 6], 'each has a number of its own');
  t.ok((await runtime.list()).length <= 1, 'only the last is kept, for its log');
  await manager.forget(SLOT);
  t.same(await runtime.list(), []);
});

t.test('a restart policy says what an end means', async (t) => {
  const cases = [
    { restart: 'never', code: '0', phase: 'stopped' },
    { restart: 'never', code: '3', phase: 'failed' },
    { restart: 'on-failure', code: '0', phase: 'stopped' },
  ] as const;
  for (const { restart, code, phase } of cases) {
    const { manager, runtime, until } = await stage(t);
    const spec = specOf({ command: ['script', 'out:last words', `exit:${code}`], restart });
    manager.claim({ slot: SLOT, spec, body: bodyOf() });
    t.match(await until(phase), { exitCode: Number(code), restarts: 0 }, `${restart}, ${code}`);
    const lines: string[] = [];
    for await (const { text } of runtime.logs(manager.get(SLOT)!.container!, { follow: false }))
      lines.push(text);
    t.same(lines, ['last words'], 'the log stays');
  }
});

t.test('what cannot work here is not tried again', async (t) => {
  const wrong = await stage(t);
  wrong.manager.claim({ slot: SLOT, spec: specOf({ command: ['no-such-program'] }), body: bodyOf() });
  t.match(await wrong.until('failed'), { restarts: 0, reason: /no-such-program/ });
  const unknown = await stage(t, { knownImage: false });
  unknown.manager.claim({ slot: SLOT, spec: specOf(), body: bodyOf() });
  t.match(await unknown.until('failed'), { restarts: 0, reason: /web:1/ });
});

t.test('health checks decide, and what stays unhealthy is started anew', async (t) => {
  const { manager, told, until } = await stage(t);
  const health = { kind: 'exec', interval_ms: 100, timeout_ms: 1000, retries: 2 } as const;
  const sick = specOf({ health: { ...health, command: ['script', 'exit:1'] } });
  manager.claim({ slot: SLOT, spec: sick, body: bodyOf() });
  await eventually('it is started anew', () =>
    told.some(({ attempt, phase }) => attempt === 2 && phase === 'running'),
  );
  t.ok(told.some(({ phase, health: verdict }) => phase === 'running' && verdict === 'unhealthy'));
  t.notOk(told.some(({ health: verdict }) => verdict === 'healthy'));
  const well = specOf({ health: { ...health, command: ['script', 'exit:0'] } });
  manager.claim({ slot: SLOT, spec: well, body: bodyOf({ attempt: 10 }) });
  await eventually('it is healthy', () => told.at(-1)?.health === 'healthy');
  t.match(await until('running'), { attempt: 10 });
});

t.test('checks that the host cannot carry out stop nothing, and say nothing of health', async (t) => {
  const { manager, runtime, told } = await stage(t);
  const exec = runtime.exec.bind(runtime);
  let refusals = 0;
  runtime.exec = () => {
    refusals += 1;
    return Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
  };
  const health = { kind: 'exec', interval_ms: 100, timeout_ms: 1000, retries: 1 } as const;
  const spec = specOf({ health: { ...health, command: ['script', 'exit:0'] } });
  manager.claim({ slot: SLOT, spec, body: bodyOf() });
  await eventually('many were refused', () => refusals > 20);
  t.ok(told.every(({ health: verdict, restarts }) => verdict === 'unknown' && restarts === 0));
  runtime.exec = exec;
  await eventually('it is healthy', () => told.at(-1)?.health === 'healthy');
});

t.test('a claim of a slot that is held comes after the one before has gone', async (t) => {
  const { manager, runtime, told } = await stage(t);
  for (const attempt of [1, 2, 3]) {
    manager.claim({ slot: SLOT, spec: specOf(), body: bodyOf({ attempt }) });
  }
  await eventually('the last one runs', () => told.at(-1)?.phase === 'running' && told.at(-1)?.attempt === 3);
  const live = (await runtime.list()).filter(({ state }) => state === 'running');
  t.equal(live.length, 1);
  t.equal(live[0]!.labels['shoal.attempt'], '3');
  manager.claim({ slot: SLOT, spec: specOf(), body: bodyOf({ attempt: 4 }) });
  manager.release(SLOT, 'no more');
  await eventually(
    'none is left',
    async () => (await runtime.list()).length === 0 && manager.get(SLOT) === undefined,
  );
});

t.test(
  'nothing is begun in the place of a container that cannot be stopped, before it is gone',
  async (t) => {
    const { manager, runtime, told, until } = await stage(t);
    const stop = runtime.stop.bind(runtime);
    let isStuck = true;
    let tries = 0;
    runtime.stop = async (id, options) => {
      tries += 1;
      if (isStuck) throw new Error('it does not end');
      return await stop(id, options);
    };
    manager.claim({ slot: SLOT, spec: specOf(), body: bodyOf() });
    await until('running');
    manager.release(SLOT, 'moved');
    manager.claim({ slot: SLOT, spec: specOf(), body: bodyOf({ attempt: 2 }) });
    await eventually('it is tried again', () => tries > 2);
    t.match(told.at(-1), {
      ...{ attempt: 1, phase: 'stopping', health: 'unhealthy' },
      reason: 'its container cannot be stopped: Error: it does not end',
    });
    t.equal((await runningOn(runtime)).length, 1);
    isStuck = false;
    await eventually('the next runs', () => told.at(-1)?.phase === 'running' && told.at(-1)?.attempt === 2);
    t.ok(told.some(({ attempt, phase }) => attempt === 1 && phase === 'stopped'));
    t.equal((await runningOn(runtime)).length, 1);
    isStuck = true;
    manager.release(SLOT, 'stuck as the daemon goes');
    await eventually('it is tried', () => told.at(-1)?.reason?.includes('cannot be stopped'));
  },
);

t.test('what an earlier daemon left and cannot be removed holds its slot', async (t) => {
  const { host, told: recorded } = await leftBehind(t);
  const { manager, runtime, told } = await stage(t, { host });
  const stop = runtime.stop.bind(runtime);
  let isStuck = true;
  runtime.stop = async (id, options) => {
    if (isStuck) throw new Error('it does not end');
    return await stop(id, options);
  };
  const bodies = recorded.map((body, at) => ({
    ...body,
    ...(at === 0 ? { attempt: 3 } : { phase: 'stopping' as const }),
  }));
  await manager.adopt(bodies, () => specOf(PORTS));
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.notOk(told.some(({ phase }) => phase === 'stopped' || phase === 'pulling'));
  t.equal((await runningOn(runtime)).length, 2);
  isStuck = false;
  await eventually('both are settled', () =>
    [0, 1].every((at) =>
      told.some(({ index, phase }) => index === at && phase === (at ? 'stopped' : 'running')),
    ),
  );
  t.equal((await runningOn(runtime)).length, 1);
});

t.test('a start that was not written to its end is taken up as it is', async (t) => {
  for (const recorded of [
    { phase: 'running' as const, attempt: 1 },
    { phase: 'starting' as const, attempt: 2 },
  ]) {
    const { host, ids } = await leftBehind(t);
    const { manager, runtime, told } = await stage(t, { host });
    await manager.adopt(
      [0, 1].map((index) => bodyOf({ index, ...recorded })),
      () => specOf(PORTS),
    );
    await eventually(
      'both are healthy',
      () => told.filter(({ health }) => health === 'healthy').length === 2,
    );
    t.same(await runningOn(runtime), ids, `recorded as ${recorded.phase}, attempt ${recorded.attempt}`);
    t.notOk(told.some(({ attempt }) => attempt !== 2));
  }
});

t.test('a release while the image is being fetched ends the fetch', async (t) => {
  let aborted = false;
  const { manager, runtime, until } = await stage(t, {
    ensure: (_digest, _image, options) =>
      new Promise((_, reject) => {
        options?.signal?.addEventListener('abort', () => {
          aborted = true;
          reject(new Error('given up'));
        });
      }),
  });
  manager.claim({ slot: SLOT, spec: specOf(), body: bodyOf() });
  await until('pulling');
  manager.release(SLOT, 'removed');
  t.match(await until('stopped'), { reason: 'removed' });
  t.ok(aborted);
  t.same(await runtime.list(), []);
});

t.test('a new daemon keeps what is wanted, takes away what is not, and starts what is missing', async (t) => {
  const host = new MemoryHost();
  const first = await stage(t, { host });
  for (const index of [0, 1]) {
    const slot = `default/web/${index}` as const;
    first.manager.claim({ slot, spec: specOf(), body: bodyOf({ index }) });
  }
  const latest = (index: number) => first.told.findLast((body) => body.index === index);
  await eventually('both run', () => [0, 1].every((index) => latest(index)?.phase === 'running'));
  const running = [latest(0)!];
  await first.manager[Symbol.asyncDispose]();
  t.equal(
    (await first.runtime.list()).filter(({ state }) => state === 'running').length,
    2,
    'they outlive it',
  );

  const second = await stage(t, { host });
  const recorded = [
    ...running,
    bodyOf({ index: 2, phase: 'starting' }),
    bodyOf({ index: 3, phase: 'stopping' }),
  ];
  await second.manager.adopt(recorded, () => specOf());
  await eventually('the missing one runs', () =>
    second.told.some(({ index, phase, attempt }) => index === 2 && phase === 'running' && attempt === 2),
  );
  t.ok(second.told.some(({ index, phase }) => index === 3 && phase === 'stopped'));
  await eventually('slot 1, which nobody wants, is empty', async () => {
    const slots = (await second.runtime.list()).map(({ labels }) => labels['shoal.slot']).sort();
    return slots.join() === 'default/web/0,default/web/2';
  });
  t.notOk(
    second.told.some(({ index, phase, attempt }) => index === 0 && (phase !== 'running' || attempt !== 1)),
    'what was found again was not started anew',
  );
  second.manager.release('default/web/0', 'removed');
  await eventually('it is released like any other', () =>
    second.told.some(({ index, phase }) => index === 0 && phase === 'stopped'),
  );
});

/** A host on which web/0 and web/1 run, as attempt 2, and whose daemon has gone. */
async function leftBehind(t: Test): Promise<{ host: MemoryHost; told: AllocationBody[]; ids: string[] }> {
  const host = new MemoryHost();
  const { manager, runtime, told } = await stage(t, { host });
  for (const index of [0, 1])
    manager.claim({ slot: `default/web/${index}`, spec: specOf(PORTS), body: bodyOf({ index, attempt: 2 }) });
  await eventually('both run', () => told.filter(({ health }) => health === 'healthy').length === 2);
  await manager[Symbol.asyncDispose]();
  const latest = [0, 1].map((index) => told.findLast((body) => body.index === index)!);
  return { host, told: latest, ids: (await runtime.list()).map(({ id }) => id).sort() };
}

const PORTS = { ports: [{ name: 'http', port: 1 }] };

async function runningOn(runtime: Runtime): Promise<string[]> {
  return (await runtime.list())
    .filter(({ state }) => state === 'running')
    .map(({ id }) => id)
    .sort();
}

t.test('what no record tells of waits for its record while some are missing', async (t) => {
  const { host, told, ids } = await leftBehind(t);
  const { manager, runtime, told: later } = await stage(t, { host });
  await manager.adopt([], () => undefined, true);
  t.same(await runningOn(runtime), ids);
  t.ok(manager.recall(told[0]!, undefined, true));
  t.ok(manager.get('default/web/0'), 'there is an instance at once');
  await eventually('it is watched over', () => later.some(({ health }) => health === 'healthy'));
  t.notOk(later.some(({ attempt, phase }) => attempt !== 2 || phase !== 'running'));
  manager.removeUnclaimed();
  await eventually('the other one is removed', async () => (await runningOn(runtime)).length === 1);
  t.same(await runningOn(runtime), [ids[0]]);
  manager.release('default/web/0', 'removed');
  await eventually('it is released like any other', () => later.at(-1)?.phase === 'stopped');
  t.same(await runningOn(runtime), []);
});

t.test('a claim takes up what runs in its slot already, if that is the same', async (t) => {
  const { host, told, ids } = await leftBehind(t);
  const { manager, runtime, told: later } = await stage(t, { host });
  await manager.adopt([], () => undefined, true);
  manager.claim({ slot: 'default/web/0', spec: specOf({ ...PORTS, replicas: 5 }), body: bodyOf() });
  manager.claim({ slot: 'default/web/1', spec: specOf({ env: { A: 'b' } }), body: bodyOf({ index: 1 }) });
  for (const index of [0, 1])
    await eventually(
      `${index} runs`,
      () => later.findLast((body) => body.index === index)?.phase === 'running',
    );
  t.match(
    later.findLast(({ index }) => index === 0),
    { attempt: 2, address: '127.0.0.1', ports: told[0]!.ports },
  );
  t.match(
    later.findLast(({ index }) => index === 1),
    { attempt: 1 },
  );
  const now = await runningOn(runtime);
  t.equal(now.length, 2);
  t.ok(now.includes(ids[0]!));
  t.notOk(now.includes(ids[1]!), 'it was another');
});

t.test('what runs in a slot and cannot be taken up makes way for what is started', async (t) => {
  const { host, ids } = await leftBehind(t);
  const refusesNetwork = (container: string) => ids.includes(container);
  const { manager, runtime, told } = await stage(t, { host, refusesNetwork });
  await manager.adopt([], () => undefined, true);
  const body = bodyOf({ attempt: 3 });
  manager.claim({ slot: 'default/web/0', spec: specOf(PORTS), body: { ...body, attempt: 1 } });
  await eventually('it is tried', async () => !(await runningOn(runtime)).includes(ids[0]!));
  manager.claim({ slot: 'default/web/0', spec: specOf(PORTS), body });
  await eventually('another runs', () => told.at(-1)?.phase === 'running' && told.at(-1)?.attempt === 3);
  t.equal((await runningOn(runtime)).length, 2);
});

t.test('a record that comes late and of which nothing is left is begun anew, or ended', async (t) => {
  const { manager, told, until } = await stage(t);
  await manager.adopt([], () => undefined);
  manager.recall(bodyOf({ phase: 'running', attempt: 3 }), specOf(), false);
  t.match(await until('running'), { attempt: 4 });
  manager.recall(bodyOf({ phase: 'stopping', index: 1 }), specOf(), false);
  manager.recall(bodyOf({ phase: 'running', index: 2 }), undefined, false);
  for (const index of [1, 2])
    await eventually(`${index} has ended`, () =>
      told.some((body) => body.index === index && body.phase === 'stopped'),
    );
  t.notOk(told.some(({ index, attempt }) => index === 0 && attempt !== 4));
});

t.test('while records are missing nothing is begun beside what is left, nor in place of it', async (t) => {
  const { host, told, ids } = await leftBehind(t);
  const { manager, runtime, told: later } = await stage(t, { host });
  // The disk knows of an attempt and a revision before those.
  const old = bodyOf({ phase: 'running', attempt: 1 });
  const oldSpec = specOf({ ...PORTS, env: { V: '1' } });
  t.same([...(await manager.adopt([old], () => oldSpec, true))], ['default/web/0']);
  t.notOk(manager.recall(old, oldSpec, true));
  t.notOk(manager.recall(bodyOf({ phase: 'running', index: 2 }), undefined, true), 'what it is may come');
  const would = (spec: WorkloadSpec, attempt: number) => manager.unclaimed(() => ({ spec, attempt }));
  t.match(would(oldSpec, 2), {
    slots: new Set(['default/web/0', 'default/web/1']),
    resources: { memory_bytes: 2 * SPEC_DEFAULTS.resources.memory_bytes },
  });
  t.equal(would(specOf(PORTS), 2).slots.size, 0, 'these will be taken up');
  t.equal(would(specOf(PORTS), 3).slots.size, 2, 'a later attempt is known to have been');
  t.same(await runningOn(runtime), ids);
  t.same(later, []);
  t.ok(manager.recall(told[0]!, oldSpec, true));
  await eventually('it is taken up', () => later.some(({ health }) => health === 'healthy'));
  t.same(await runningOn(runtime), ids);
  t.ok(manager.recall({ ...old, index: 1 }, oldSpec, false), 'all has come');
  t.match(
    await eventually('a new one runs', () =>
      later.find(({ index, phase }) => index === 1 && phase === 'running'),
    ),
    { attempt: 2 },
  );
});

t.test('what was about to run when its record was written last is taken up as it is', async (t) => {
  const { host, ids } = await leftBehind(t);
  const { manager, runtime, told } = await stage(t, { host });
  const recorded = [0, 1].map((index) => bodyOf({ index, phase: 'starting', attempt: 2 }));
  await manager.adopt(recorded, () => specOf(PORTS), true);
  await eventually('both run', () => told.filter(({ health }) => health === 'healthy').length === 2);
  t.same(await runningOn(runtime), ids);
  t.notOk(told.some(({ attempt }) => attempt !== 2));
});

t.test('what ran to its end is not run again for want of its record', async (t) => {
  const host = new MemoryHost();
  const job = specOf({ command: ['script', 'exit:0'], restart: 'never' });
  const first = await stage(t, { host });
  first.manager.claim({ slot: SLOT, spec: job, body: bodyOf({ attempt: 2 }) });
  await first.until('stopped');
  await first.manager[Symbol.asyncDispose]();
  const { manager, runtime, told, until } = await stage(t, { host });
  await manager.adopt([], () => undefined, true);
  t.equal(manager.unclaimed(() => ({ spec: specOf(), attempt: 1 })).resources.memory_bytes, 0);
  manager.claim({ slot: SLOT, spec: job, body: bodyOf() });
  t.match(await until('stopped'), { attempt: 2, exitCode: 0 });
  t.notOk(told.some(({ phase }) => phase === 'starting'));
  t.equal((await runtime.list()).length, 1);
});

t.test('a container that runs at an address that the host has no more is started anew', async (t) => {
  const { host, told, ids } = await leftBehind(t);
  const { manager, runtime, told: later } = await stage(t, { host, address: '127.0.0.2' });
  await manager.adopt(told, () => specOf(PORTS));
  await eventually('both run', () => later.filter(({ health }) => health === 'healthy').length === 2);
  t.notOk(later.some(({ phase, address }) => phase === 'running' && address !== '127.0.0.2'));
  t.notOk((await runningOn(runtime)).some((id) => ids.includes(id)));
});

t.test('what is so in a slot is written again when that is asked for', async (t) => {
  const { manager, told, until } = await stage(t);
  manager.retell(SLOT);
  manager.claim({ slot: SLOT, spec: specOf(), body: bodyOf() });
  await until('running');
  await eventually('it is healthy', () => told.at(-1)?.health === 'healthy');
  const before = told.length;
  t.ok(manager.recall(bodyOf({ phase: 'running', attempt: 9, address: '10.9.9.9' }), specOf(), false));
  t.equal(told.length, before);
  manager.retell(SLOT);
  await eventually('it is said again', () => told.length > before);
  t.match(told.at(-1), { attempt: 1, address: '127.0.0.1', phase: 'running', health: 'healthy' });
});

t.test('what was never started is not taken for what has ended', async (t) => {
  const { host, ids } = await leftBehind(t);
  const job = specOf({ ...PORTS, restart: 'never' });
  const { manager, runtime, until } = await stage(t, { host });
  const list = runtime.list.bind(runtime);
  const labels = { 'shoal.spec': JSON.stringify(job) };
  runtime.list = async () =>
    (await list()).map((each) => ({
      ...each,
      state: 'created' as const,
      labels: { ...each.labels, ...labels },
    }));
  await manager.adopt([], () => undefined, true);
  runtime.list = list;
  manager.claim({ slot: SLOT, spec: job, body: bodyOf({ attempt: 2 }) });
  await until('running');
  t.equal(manager.unclaimed(() => undefined).slots.size, 1);
  t.equal(manager.unclaimedCount, 0, 'it does not run');
  t.equal((await runtime.list()).length, ids.length);
});

t.test('a start waits for no container to stop, and what takes its place does', async (t) => {
  const { host, told } = await leftBehind(t);
  const { manager, runtime, told: later } = await stage(t, { host });
  const stop = runtime.stop.bind(runtime);
  const gate = Promise.withResolvers<void>();
  const graces: number[] = [];
  runtime.stop = async (id, options) => {
    graces.push(options.grace_ms);
    await gate.promise;
    return await stop(id, options);
  };
  const recorded = told.map((body, at) => ({
    ...body,
    ...(at === 0 ? { attempt: 3 } : { phase: 'stopping' as const }),
  }));
  await manager.adopt(recorded, () => specOf(PORTS));
  for (let at = 0; at < 20; at += 1) manager.removeUnclaimed();
  await eventually('both are being stopped', () => graces.length === 2);
  t.same(graces, [100, 100], 'as their specs say');
  t.notOk(later.some(({ index, phase }) => phase === 'starting' || (index === 1 && phase === 'stopped')));
  gate.resolve();
  await eventually('another runs', () =>
    later.some(({ index, phase }) => index === 0 && phase === 'running'),
  );
  await eventually('and the end of one is told', () =>
    later.some(({ index, phase }) => index === 1 && phase === 'stopped'),
  );
  t.equal(graces.length, 2);
});

t.test('a container that nothing wants and that does not go is tried again', async (t) => {
  const { host, ids } = await leftBehind(t);
  const { manager, runtime } = await stage(t, { host });
  const remove = runtime.remove.bind(runtime);
  let tries = 0;
  runtime.remove = async (id) => {
    tries += 1;
    if (tries <= ids.length) throw new Error('busy');
    await remove(id);
  };
  await manager.adopt([], () => undefined, true);
  manager.removeUnclaimed();
  await eventually('each is tried', () => tries === ids.length);
  t.equal((await runtime.list()).length, 2);
  await eventually('and again', async () => {
    await manager.removeRemains();
    return (await runtime.list()).length === 0;
  });
});
