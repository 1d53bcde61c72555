/**
 * What every runtime driver must do, as one suite. A driver's test gives a `Harness`; programs are written in steps
 * that the harness turns into an argv of its own. Knows the interface only.
 */
import t, { type Test } from 'tap';
import type { ContainerSpec, ExitStatus, LogLine, Runtime } from '../../daemon/runtime/runtime.ts';

/**
 * A program: `out:TEXT`, `err:TEXT`, `repeat:N:TEXT`, `cat`, `ignore:SIGTERM`, `sleep:MS`, `exit:CODE`, and `forever`,
 * which ends with 143 by SIGTERM unless it is ignored. TEXT has no quotes.
 */
export type Steps = readonly string[];

export interface Harness {
  /** A driver on the harness's directory; a later one finds the containers of the earlier. */
  open(): Promise<Runtime>;
  argv(steps: Steps): readonly string[];
  /** Layers that hold what `argv` needs. */
  readonly lowerDirs: readonly string[];
  /** What is still there of containers that were removed; empty when all is well. */
  leftovers(): Promise<string[]>;
  close(): Promise<void>;
}

const MANY = 20;
const LOGS_BYTES_MAX = 64 * 1024;

/** A program of steps for `/bin/sh`. */
export function shellArgv(steps: Steps): string[] {
  const lines = steps.map((step) => {
    const [name, ...rest] = step.split(':');
    const text = rest.join(':');
    if (name === 'out') return `echo '${text}'`;
    if (name === 'err') return `echo '${text}' >&2`;
    if (name === 'repeat')
      return `i=0; while [ $i -lt ${rest[0]} ]; do echo '${rest.slice(1).join(':')}'; i=$((i+1)); done`;
    if (name === 'cat') return 'cat';
    if (name === 'ignore') return `trap '' ${text.replace('SIG', '')}`;
    if (name === 'sleep') return `sleep ${Number(text) / 1000}`;
    if (name === 'exit') return `exit ${text}`;
    const ignores = steps.includes('ignore:SIGTERM');
    return ignores ? 'while :; do sleep 1000; done' : "trap 'exit 143' TERM; sleep 1000 & wait";
  });
  return ['sh', '-c', lines.join('\n')];
}

export function containerSpec(
  harness: Pick<Harness, 'argv' | 'lowerDirs'>,
  id: string,
  steps: Steps,
  changes: Partial<ContainerSpec> = {},
): ContainerSpec {
  return {
    id,
    labels: { workload: 'default/web' },
    lowerDirs: harness.lowerDirs,
    argv: harness.argv(steps),
    env: { COLOUR: 'blue' },
    workingDir: '/',
    user: '',
    resources: { cpu_millis: 1000, memory_bytes: 64 << 20 },
    hostname: 'web-0',
    mounts: [],
    netns: null,
    stopSignal: 'SIGTERM',
    logs_bytes_max: LOGS_BYTES_MAX,
    ...changes,
  };
}

export async function collect(lines: AsyncIterable<LogLine>): Promise<LogLine[]> {
  const all: LogLine[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

/** Runs one container to its end; it is left stopped. */
export async function runToEnd(runtime: Runtime, spec: ContainerSpec): Promise<ExitStatus> {
  await runtime.create(spec);
  await runtime.start(spec.id);
  return runtime.wait(spec.id);
}

function texts(lines: readonly LogLine[], stream: LogLine['stream'] = 'stdout'): string[] {
  return lines.filter((line) => line.stream === stream).map((line) => line.text);
}

async function* input(...parts: string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

/** Waits until the container has printed a line: only then is it certain to have set its traps. */
async function printed(runtime: Runtime, id: string): Promise<void> {
  for await (const _line of runtime.logs(id, { follow: true })) return;
}

export function runtimeConformance(name: string, makeHarness: () => Promise<Harness>): void {
  t.test(`the ${name} driver conforms`, async (t) => {
    /** One runtime and harness per test; afterwards everything is removed and nothing may be left. */
    const fact = (
      title: string,
      body: (t: Test, runtime: Runtime, harness: Harness) => Promise<void>,
    ): void => {
      t.test(title, async (t) => {
        const harness = await makeHarness();
        const runtime = await harness.open();
        try {
          await body(t, runtime, harness);
        } finally {
          await using last = await harness.open();
          for (const { id } of await last.list()) {
            await last.stop(id, { grace_ms: 0 });
            await last.remove(id);
          }
          t.same(await harness.leftovers(), [], 'nothing is left behind');
          await runtime[Symbol.asyncDispose]();
          await harness.close();
        }
      });
    };

    fact('a container goes from created by running to stopped', async (t, runtime, harness) => {
      await runtime.create(containerSpec(harness, 'a', ['out:up', 'forever']));
      const [created] = await runtime.list();
      t.match(created, { id: 'a', state: 'created', exit: null, started_ms: null });
      t.same(created?.labels, { workload: 'default/web' });
      await runtime.start('a');
      const [running] = await runtime.list();
      t.match(running, { state: 'running', exit: null, pid: Number, started_ms: Number });
      await t.rejects(runtime.start('a'), { code: 'E_RUNTIME_FAILED' });
      await t.rejects(runtime.remove('a'), { code: 'E_RUNTIME_FAILED' });
      await printed(runtime, 'a');
      const stats = await runtime.stats('a');
      t.ok(stats.pids >= 1 && stats.memory_bytes > 0 && stats.cpu_ns >= 0);
      t.match(await runtime.stop('a', { grace_ms: 20_000 }), { code: 143, oom: false });
      const [stopped] = await runtime.list();
      t.match(stopped, { state: 'stopped', pid: null, exit: { code: 143 } });
      await t.rejects(runtime.stats('a'), { code: 'E_NOT_RUNNING' });
      await t.rejects(runtime.kill('a', 'SIGTERM'), { code: 'E_NOT_RUNNING' });
      t.match(await runtime.stop('a', { grace_ms: 0 }), { code: 143 }, 'a stopped one resolves at once');
      await runtime.remove('a');
      t.same(await runtime.list(), []);
      await t.rejects(runtime.remove('a'), { code: 'E_NOT_FOUND' });
    });

    fact('the exit code is that of the program, or 128 and the signal', async (t, runtime, harness) => {
      t.match(await runToEnd(runtime, containerSpec(harness, 'zero', ['exit:0'])), { code: 0, oom: false });
      t.match(await runToEnd(runtime, containerSpec(harness, 'seven', ['exit:7'])), { code: 7, oom: false });
      await runtime.create(containerSpec(harness, 'killed', ['forever']));
      await runtime.start('killed');
      const exit = runtime.wait('killed');
      await runtime.kill('killed', 'SIGKILL');
      t.match(await exit, { code: 137, oom: false, at_ms: Number });
      t.match(await runtime.wait('killed'), { code: 137 }, 'waiting after the end gives it at once');
    });

    fact('waiting can be cancelled without ending the container', async (t, runtime, harness) => {
      await runtime.create(containerSpec(harness, 'a', ['forever']));
      await runtime.start('a');
      const cancel = new AbortController();
      const waiting = runtime.wait('a', { signal: cancel.signal });
      cancel.abort();
      await t.rejects(waiting, { code: 'E_CANCELLED' });
      await t.rejects(runtime.wait('a', { signal: cancel.signal }), { code: 'E_CANCELLED' });
      t.match((await runtime.list())[0], { state: 'running' });
    });

    fact('one that ignores the stop signal is killed after the grace', async (t, runtime, harness) => {
      await runtime.create(containerSpec(harness, 'a', ['ignore:SIGTERM', 'out:up', 'forever']));
      await runtime.start('a');
      await printed(runtime, 'a');
      await runtime.kill('a', 'SIGTERM');
      t.match(await runtime.stop('a', { grace_ms: 100 }), { code: 137, oom: false });
    });

    fact('a created one can be stopped and removed', async (t, runtime, harness) => {
      await runtime.create(containerSpec(harness, 'a', ['forever']));
      t.match(await runtime.stop('a', { grace_ms: 0 }), { code: 137 });
      await runtime.create(containerSpec(harness, 'b', ['forever']));
      await t.rejects(runtime.exec('b', harness.argv(['exit:0']), { onOutput: () => undefined }), {
        code: 'E_NOT_RUNNING',
      });
      await runtime.remove('b');
      t.equal((await runtime.list()).length, 1);
    });

    fact('logs keep both streams, and following ends with the container', async (t, runtime, harness) => {
      const steps = ['out:one', 'err:two', 'sleep:150', 'out:three', 'exit:0'];
      await runtime.create(containerSpec(harness, 'a', steps));
      const following = collect(runtime.logs('a', { follow: true }));
      await runtime.start('a');
      const followed = await following;
      t.same(texts(followed), ['one', 'three']);
      t.same(texts(followed, 'stderr'), ['two']);
      const kept = await collect(runtime.logs('a', { follow: false }));
      t.same([texts(kept), texts(kept, 'stderr')], [['one', 'three'], ['two']]);
      t.equal((await collect(runtime.logs('a', { follow: false, tail: 2 }))).length, 2);
      t.same(await collect(runtime.logs('a', { follow: false, tail: 0 })), []);
      for (const { at_ms } of followed) t.ok(at_ms === null || Number.isSafeInteger(at_ms));
    });

    fact('following can be aborted', async (t, runtime, harness) => {
      await runtime.create(containerSpec(harness, 'a', ['out:one', 'out:two', 'forever']));
      await runtime.start('a');
      await printed(runtime, 'a');
      const abort = new AbortController();
      const seen: string[] = [];
      for await (const line of runtime.logs('a', { follow: true, signal: abort.signal })) {
        seen.push(line.text);
        if (line.text === 'two') abort.abort();
      }
      t.same(seen, ['one', 'two']);
    });

    fact('a long line comes in pieces of at most 16 KiB', async (t, runtime, harness) => {
      const long = 'xyzä'.repeat(8000);
      await runToEnd(
        runtime,
        containerSpec(harness, 'a', [`out:${long}`, 'out:end'], { logs_bytes_max: 1 << 20 }),
      );
      const lines = texts(await collect(runtime.logs('a', { follow: false })));
      t.equal(lines.pop(), 'end');
      t.ok(lines.length > 1);
      for (const line of lines) t.ok(Buffer.byteLength(line) <= 16 * 1024);
      t.ok(lines.join('') === long, 'together they are the whole line');
    });

    fact('logs keep to their cap and lose the oldest', async (t, runtime, harness) => {
      const line = 'x'.repeat(99);
      await runToEnd(runtime, containerSpec(harness, 'a', [`repeat:3000:${line}`, 'out:the last']));
      const lines = await collect(runtime.logs('a', { follow: false }));
      const bytes = lines.reduce((sum, { text }) => sum + text.length + 1, 0);
      t.ok(bytes <= LOGS_BYTES_MAX, `${bytes} bytes are kept`);
      t.equal(lines.at(-1)?.text, 'the last');
    });

    fact('exec gives output and exit code, and takes input', async (t, runtime, harness) => {
      await runtime.create(containerSpec(harness, 'a', ['forever']));
      await runtime.start('a');
      const output = { stdout: '', stderr: '' };
      const onOutput = (stream: 'stdout' | 'stderr', chunk: Uint8Array): void => {
        output[stream] += Buffer.from(chunk).toString();
      };
      t.same(await runtime.exec('a', harness.argv(['out:o', 'err:e', 'exit:5']), { onOutput }), { code: 5 });
      t.same(output, { stdout: 'o\n', stderr: 'e\n' });
      output.stdout = '';
      t.same(await runtime.exec('a', harness.argv(['cat']), { stdin: input('ab', 'cd'), onOutput }), {
        code: 0,
      });
      t.equal(output.stdout, 'abcd');
      await t.rejects(runtime.exec('a', ['no-such-command'], { onOutput }), { code: 'E_COMMAND_NOT_FOUND' });
      const abort = new AbortController();
      const long = runtime.exec('a', harness.argv(['forever']), { onOutput, signal: abort.signal });
      setTimeout(() => abort.abort(), 100);
      await t.rejects(long, { code: 'E_CANCELLED' });
      await runtime.stop('a', { grace_ms: 0 });
      await t.rejects(runtime.exec('a', harness.argv(['exit:0']), { onOutput }), { code: 'E_NOT_RUNNING' });
    });

    fact('unknown and taken ids are refused', async (t, runtime, harness) => {
      const none = { code: 'E_NOT_FOUND' };
      await t.rejects(runtime.start('none'), none);
      await t.rejects(runtime.stop('none', { grace_ms: 0 }), none);
      await t.rejects(runtime.kill('none', 'SIGTERM'), none);
      await t.rejects(runtime.wait('none'), none);
      await t.rejects(runtime.exec('none', ['x'], { onOutput: () => undefined }), none);
      await t.rejects(runtime.stats('none'), none);
      await t.rejects(async () => collect(runtime.logs('none', { follow: false })), none);
      for (const id of ['', '..', 'a/b', '.hidden', 'a b', 'x'.repeat(129)])
        await t.rejects(runtime.create(containerSpec(harness, id, ['exit:0'])), { code: 'E_BAD_INPUT' });
      const spec = containerSpec(harness, 'a', ['exit:0']);
      const both = await Promise.allSettled([runtime.create(spec), runtime.create(spec)]);
      t.same(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      await t.rejects(runtime.create(spec), { code: 'E_EXISTS' });
      t.equal((await runtime.list()).length, 1, 'the first one stays');
    });

    fact('a creation that fails leaves nothing and can be tried again', async (t, runtime, harness) => {
      const spec = containerSpec(harness, 'a', ['exit:3']);
      await t.rejects(runtime.create({ ...spec, argv: ['no-such-command'] }), {
        code: 'E_COMMAND_NOT_FOUND',
      });
      await t.rejects(runtime.create({ ...spec, stopSignal: 'SIGNOTHING' }), { code: 'E_BAD_INPUT' });
      t.same(await runtime.list(), []);
      t.same(await harness.leftovers(), []);
      t.match(await runToEnd(runtime, spec), { code: 3 });
    });

    fact('a later driver finds everything again', async (t, first, harness) => {
      await first.create(
        containerSpec(harness, 'goes-on', ['out:before', 'sleep:400', 'out:after', 'forever']),
      );
      await first.create(containerSpec(harness, 'ends', ['out:soon', 'sleep:200', 'exit:9']));
      await first.create(containerSpec(harness, 'ended', ['exit:4']));
      await first.create(containerSpec(harness, 'waits', ['exit:5']));
      for (const id of ['goes-on', 'ends', 'ended']) await first.start(id);
      await first.wait('ended');
      const abandoned = first.wait('goes-on');
      const pid = (await first.list()).find(({ id }) => id === 'goes-on')?.pid;
      await Promise.all([t.rejects(abandoned, { code: 'E_CANCELLED' }), first[Symbol.asyncDispose]()]);

      await using second = await harness.open();
      t.match(await second.wait('ends'), { code: 9 });
      t.match(await second.wait('ended'), { code: 4 });
      const found = new Map((await second.list()).map((info) => [info.id, info]));
      t.match(found.get('goes-on'), { state: 'running', pid, exit: null, started_ms: Number });
      t.match(found.get('ends'), { state: 'stopped', labels: { workload: 'default/web' } });
      t.match(found.get('waits'), { state: 'created', started_ms: null });
      await second.start('waits');
      t.match(await second.wait('waits'), { code: 5 });
      const seen: string[] = [];
      for await (const line of second.logs('goes-on', { follow: true })) {
        seen.push(line.text);
        if (line.text === 'after') break;
      }
      t.same(seen, ['before', 'after'], 'logs are whole');
      t.same(texts(await collect(second.logs('ends', { follow: true }))), ['soon']);
      t.match(await second.stop('goes-on', { grace_ms: 20_000 }), { code: 143 });

      await using third = await harness.open();
      const codes = (await third.list()).map(({ id, exit }) => [id, exit?.code]).sort();
      t.same(codes, [
        ['ended', 4],
        ['ends', 9],
        ['goes-on', 143],
        ['waits', 5],
      ]);
    });

    fact(`${MANY} lives go on side by side`, async (t, runtime, harness) => {
      const lives = Array.from({ length: MANY }, async (_, n) => {
        const id = `life-${n}`;
        const exit = await runToEnd(runtime, containerSpec(harness, id, [`out:${id}`, `exit:${n}`]));
        const lines = texts(await collect(runtime.logs(id, { follow: true })));
        await runtime.remove(id);
        return [exit.code, ...lines];
      });
      t.same(
        await Promise.all(lives),
        Array.from({ length: MANY }, (_, n) => [n, `life-${n}`]),
      );
      t.same(await harness.leftovers(), []);
    });
  });
}
